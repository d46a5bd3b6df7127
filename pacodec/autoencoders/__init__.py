"""The study's autoencoders and their quantizers. This module loads no torch: others must know the names without it."""

AUTOENCODERS = (
    "vanilla-1000",
    "vanilla-500",
    "multilayer-1000",
    "multilayer-500",
    "conv4",
    "conv5",
    "vae",
    "pca",
)
"""Names of the transforms that need an autoencoder: the keys of `registry.ARCHITECTURES`."""
