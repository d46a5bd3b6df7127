"""Training: the loop that all networks share, and what trains the learned predictor."""
