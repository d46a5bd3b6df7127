"""The vectors' models: every architecture with weights that a few bytes of zstd hold, and networks of integers.

Nothing is trained: what counts is that a file decodes to the same symbols and pictures for ever.
"""

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import predictive
import torch
from conftest import COLOURS, TINY, screen
from numpy.typing import NDArray
from vectors.making.workshop import HEIGHT, WIDTH

from pacodec.transforms.palette import PaletteTransform
from pacodec.transforms.registry import build
from pacodec.transforms.shades import ShadesTransform
from pacodec.weights import ModelInfo, dump_arrays

PERIOD = 997
"""Weights repeat after so many, which is what makes a model of megabytes small in a repository."""
DEVIATION = 74.0
"""Of the integers -128 to 127."""
OFFSETS = {"mean": 0.5, "scale": 0.4, "shift": 0.5, "low": 0.1, "step": 0.05}
"""Middle of the values of tensors that are neither matrices nor their biases."""
FURTHER = {
    "pca": ("pca", {"height": 24, "width": 32, "rank": 12}),
    "pca-levels": ("pca", {"height": 24, "width": 32, "rank": 12, "levels": 16}),
    "conv4-levels": ("conv4", {"levels": 16}),
}
"""Architecture and hyper-parameters by name."""
AUTOENCODERS = {**{arch: (arch, values) for arch, values in TINY.items()}, **FURTHER}
NARROW: Mapping[str, Any] = {
    **predictive.TINY,
    "radii": [1, 0, 1, 0],
    "dilation": 1,
    "history": 1,
    "hold": 1,
    "embedding": 1,
    "hidden": 8,
    "layers": 0,
}
DEEP: Mapping[str, Any] = {
    **predictive.TINY,
    "radii": [1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 2],
    "dilation": 3,
    "history": 8,
    "hold": 6,
    "embedding": 3,
    "hidden": 12,
    "layers": 4,
}


def autoencoder(arch: str, hyperparameters: Mapping[str, int]) -> bytes:
    """A model of the study with weights of the usual size, so that its pictures have contrast."""
    with torch.device("meta"):
        network = build(arch, hyperparameters, folded=True)
    arrays: dict[str, NDArray[Any]] = {}
    for name, value in network.state_dict().items():
        shape = tuple(value.shape)
        pattern = predictive.integers(f"{arch} {name}", (PERIOD,), 8)
        values = np.resize(pattern, shape)
        base = name.removeprefix("inner.")
        if base in OFFSETS:
            arrays[name] = (OFFSETS[base] * (1 + values / 1000)).astype(np.float32)
        elif "bias" in name:
            offset = 0.5 if shape[-1] in (3, _block(hyperparameters)) else 0.05
            arrays[name] = (offset + values / 2000).astype(np.float32 if len(shape) == 3 else np.float16)
        elif len(shape) == 3:
            arrays[name] = values.astype(np.int8)
            arrays[f"{name}@scale"] = np.full(shape[:-1], 1.0 / DEVIATION / np.sqrt(shape[-1]), np.float32)
        else:
            fan = 2.25 * shape[0] if ".up" in f".{base}" or _is_up(arch, base) else 9 * shape[1]
            arrays[name] = (values * np.sqrt(2 / fan) / DEVIATION).astype(np.float16)
    return dump_arrays(arrays, ModelInfo(arch, hyperparameters))


def _block(hyperparameters: Mapping[str, int]) -> int:
    """Values of a picture's block, of the networks that have such."""
    return 3 * hyperparameters.get("height", 0) * hyperparameters.get("width", 0) // 16


def _is_up(arch: str, name: str) -> bool:
    """Whether weights are those of a transposed convolution."""
    part, _, rest = name.partition(".")
    return arch.startswith("conv") and part == "decoder" and int(rest.partition(".")[0]) % 2 == 0


def shaded() -> bytes:
    """A predictive model that knows shades of its colours."""
    brighter = np.minimum(COLOURS.astype(np.int64) + 3, 255).astype(np.uint8)
    shades = ShadesTransform(COLOURS, brighter).parameters["shades"]
    arrays = predictive.make_arrays(seed=2)
    arrays |= {"palette": COLOURS, "shades": np.frombuffer(shades, np.uint8)}
    return predictive.dump_model(arrays)


def screens() -> bytes:
    """A predictive model that knows three screens, of which the last is one that the footage begins with."""
    pictures = np.stack([np.zeros((HEIGHT, WIDTH, 3), np.uint8), screen(40, WIDTH, HEIGHT), screen(0, WIDTH, HEIGHT)])
    codes = PaletteTransform(COLOURS).encode(pictures)[:, 0]
    return predictive.make_model(COLOURS, codes)


def shaped(hyperparameters: Mapping[str, Any]) -> bytes:
    """A predictive model of another shape."""
    arrays = predictive.make_arrays(hyperparameters, seed=1) | {"palette": COLOURS}
    return predictive.dump_model(arrays, hyperparameters)


MODELS: Mapping[str, Callable[[], bytes]] = {
    **{name: partial(autoencoder, *described) for name, described in AUTOENCODERS.items()},
    "foresight": lambda: predictive.make_model(COLOURS),
    "narrow": lambda: shaped(NARROW),
    "deep": lambda: shaped(DEEP),
    "screens": screens,
    "shaded": shaded,
    "filtering": partial(predictive.make_filter_model, COLOURS, width=4, blocks=1, seed=3, hyperparameters=NARROW),
    "filtering-narrow": partial(predictive.make_filter_model, COLOURS, width=1, blocks=0, hyperparameters=NARROW),
    "filtering-deep": partial(predictive.make_filter_model, COLOURS, width=3, blocks=4, seed=1, hyperparameters=NARROW),
}
"""Makers of models, by name."""


def edited(data: bytes, **metadata: str) -> bytes:
    """The model with other values in its metadata."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] |= metadata
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]
