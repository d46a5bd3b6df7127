"""Transforms: pictures to codes or latents and back, one file an architecture."""
