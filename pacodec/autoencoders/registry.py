"""Names of architectures, and networks of a given name and shape built from untrusted hyper-parameters."""

from collections.abc import Callable, Mapping
from functools import partial

from pacodec import limits
from pacodec.autoencoders.autoencoder import Autoencoder
from pacodec.autoencoders.blocks import BlockAutoencoder, PrincipalComponents
from pacodec.autoencoders.conv import ConvAutoencoder
from pacodec.autoencoders.learned_quantization import LearnedQuantization
from pacodec.autoencoders.vae import VariationalAutoencoder
from pacodec.errors import CorruptFileError, UnsupportedError

MULTILAYER_WIDTHS = (3200, 1600)

ARCHITECTURES: Mapping[str, Callable[..., Autoencoder]] = {
    "vanilla-1000": partial(BlockAutoencoder, 1000),
    "vanilla-500": partial(BlockAutoencoder, 500),
    "multilayer-1000": partial(BlockAutoencoder, 1000, MULTILAYER_WIDTHS),
    "multilayer-500": partial(BlockAutoencoder, 500, MULTILAYER_WIDTHS),
    "conv4": partial(ConvAutoencoder, 4),
    "conv5": partial(ConvAutoencoder, 5),
    "vae": VariationalAutoencoder,
    "pca": PrincipalComponents,
}
"""The study's networks, and PCA; each takes its `hyperparameters` as keywords, and `folded`."""

MAX_FIXED_SIDE = 1024
"""Pixels of a fixed-size network's side."""
MAX_RANK = 4096
BOUNDS = {"rank": (0, MAX_RANK), "levels": (2, 256)}
"""Least and most of the hyper-parameters that are not sides."""


def build(arch: str, hyperparameters: Mapping[str, object], *, folded: bool = False) -> Autoencoder:
    """A network with fresh weights; with the hyper-parameter `levels`, one that has its quantizer inside.

    Raises UnsupportedError for an unknown architecture, CorruptFileError or LimitError for hyper-parameters that do not
    fit it.
    """
    if arch not in ARCHITECTURES:
        raise UnsupportedError(f"unknown architecture {arch!r}; known are {', '.join(ARCHITECTURES)}")
    accepted = {"levels"} if arch.startswith("conv") else {"height", "width", "rank", "levels"}
    if not set(hyperparameters) <= accepted:
        raise CorruptFileError(f"{arch} has no hyper-parameters {sorted(set(hyperparameters) - accepted)}")
    checked = {}
    for name, value in hyperparameters.items():
        if not isinstance(value, int) or isinstance(value, bool):
            raise CorruptFileError(f"hyper-parameter {name} is {value!r}, not an integer")
        least, most = BOUNDS.get(name, (4, MAX_FIXED_SIDE))
        checked[name] = limits.check(f"hyper-parameter {name}", value, most, least=least)
        if name in ("height", "width") and value % 4:
            raise CorruptFileError(f"hyper-parameter {name} is {value}, not a multiple of 4")
    levels = checked.pop("levels", None)
    network = ARCHITECTURES[arch](**checked, folded=folded)
    return network if levels is None else LearnedQuantization(network, levels, folded=folded)
