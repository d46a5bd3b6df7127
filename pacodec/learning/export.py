"""A trained network as the tensors of a model file: integers, with proof that their sums are exact."""

from typing import Any

import numpy as np
import torch
import zstandard
from numpy.typing import NDArray

from pacodec.errors import ModelError
from pacodec.integer_layer import EXACT, MAX_ACTIVATION, largest_sum
from pacodec.learning.float_network import PredictorNetwork
from pacodec.learning.rounding import LOGIT_BITS, Rows, rounded_embedding
from pacodec.predictors.network import MAX_EMBEDDED, Geometry
from pacodec.predictors.passes import PASSES

Arrays = dict[str, NDArray[Any]]

NEVER = -(1 << 22)
"""Logit (1/256 nat) of a code beyond the palette."""
SCREEN_LEVEL = 19


def export(network: PredictorNetwork, palette: NDArray[np.uint8], screens: NDArray[np.uint8]) -> Arrays:
    """Tensors of a model file, of a network that rounds; `palette` is uint8 [K, 3], `screens` uint8 [S, h, w].

    Raises ModelError where a sum could leave the integers that float32 holds exactly.
    """
    scales = network.scales()
    embedding = rounded_embedding(network.embedding)[0].detach() * 2.0 ** scales[0]
    arrays: Arrays = {"palette": palette, "embedding": embedding.numpy().astype(np.int8)}
    inputs = [*scales, scales[-1]]
    outputs = [*scales[1:], LOGIT_BITS, LOGIT_BITS]
    for (name, rows), scale, out in zip(network.layers().items(), inputs, outputs, strict=True):
        arrays |= layer_arrays(name, rows, scale, out, MAX_EMBEDDED if name == "first" else MAX_ACTIVATION)
    beyond = slice(len(palette), None)
    arrays["codes.weight"][beyond], arrays["codes.bias"][beyond], arrays["codes.shift"][beyond] = 0, NEVER, 0
    if len(screens):
        packed = zstandard.ZstdCompressor(SCREEN_LEVEL).compress(np.ascontiguousarray(screens).data)
        arrays["screens"] = np.frombuffer(packed, np.uint8)
    return arrays


def hyperparameters(geometry: Geometry, screens: NDArray[np.uint8]) -> dict[str, Any]:
    """What a model file says of its shape."""
    shape = {"screens": list(screens.shape)} if len(screens) else {}
    return {**vars(geometry), "radii": list(geometry.radii), "passes": PASSES, **shape}


def check_bounds(name: str, arrays: Arrays, most: int) -> None:
    """Prove that every partial sum of a layer stays below 2^24 for inputs of at most `most`; ModelError if not."""
    weight, bias = arrays[f"{name}.weight"].astype(np.int64), arrays[f"{name}.bias"].astype(np.int64)
    reach = largest_sum(weight, bias.reshape(-1, len(weight)), most)
    if reach >= EXACT:
        raise ModelError(f"a sum of the layer {name} can reach {reach}, which float32 does not hold exactly")


def layer_arrays(name: str, rows: Rows, scale: int, out: int, most: int) -> Arrays:
    """A rounded layer as integers, proven exact for inputs x * 2^scale of at most `most`; its results are y * 2^out.

    Raises ModelError as `check_bounds`.
    """
    weight, bias, bits = (part.detach().cpu().double() for part in rows)
    shift = bits + scale - out
    half = torch.where(shift > 0, torch.exp2(shift - 1), 0.0)
    arrays: Arrays = {
        f"{name}.weight": (weight * torch.exp2(bits)[:, None]).numpy().astype(np.int8),
        f"{name}.bias": (bias * torch.exp2(bits + scale) + half).numpy().astype(np.int32),
        f"{name}.shift": shift.numpy().astype(np.int8),
    }
    check_bounds(name, arrays, most)
    return arrays
