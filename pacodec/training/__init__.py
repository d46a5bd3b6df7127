"""From the user's own footage to model files: which part is held out, what is learned from the rest, what it gains."""
