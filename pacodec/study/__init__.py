"""The study that this project began with: its data set, its models, its results table, measured again."""
