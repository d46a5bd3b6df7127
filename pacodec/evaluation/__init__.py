"""Rate-distortion against other codecs, lossy and lossless, on the same frames, counted and timed the same way."""
