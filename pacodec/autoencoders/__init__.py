"""The study's networks, their quantizers and their training; the training of the post-filter: all that needs torch."""
