"""Rate-distortion against x264, x265, VP9 and AV1 on the same frames, counted and timed the same way."""
