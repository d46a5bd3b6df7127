"""Model files: reading them, finding them, matching them to footage, and making them of recordings."""
