"""Names of the transforms that need an autoencoder, for those who must not load torch to know them."""

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
"""The keys of `registry.ARCHITECTURES`."""
