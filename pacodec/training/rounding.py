"""From floating-point weights to small integers: the same rounding while training (as floats) and for the model file.

A row of weights is W = W_int * 2^-k with its own k; activations are x = x_int * 2^-a. Scaling by powers of two loses
nothing, so a network of rounded floats computes what the integers do, to the last bit: every sum is of multiples of
2^-(k + a) below 2^(24 - k - a), which float32 holds exactly.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pacodec.errors import ModelError
from pacodec.transforms.integer_layer import EXACT, MAX_ACTIVATION, largest_sum

Arrays = dict[str, NDArray[Any]]
"""Tensors of a model file, by name."""

MAX_WEIGHT = 127
MAX_SHIFT = 18
"""Bits that a sum is scaled down by at most: half of it is added for rounding, and has to fit beside the sum."""
_MARGIN = 0.97
"""Share of 2^24 left to a row's sums before rounding, which changes them a little."""


class Rows(NamedTuple):
    """A rounded layer, in floats: weights times 2^bits and biases times 2^(bits + scale of x) are integers."""

    weight: Tensor
    """[rows, columns]."""
    bias: Tensor
    """[..., rows]."""
    bits: Tensor
    """k of each row, [rows]."""


def through(rounded: Tensor, value: Tensor) -> Tensor:
    """`rounded`, with the gradient of `value` (straight-through: Bengio et al. 2013, section 4)."""
    return rounded.detach() + (value - value.detach())


def bits_for(largest: Tensor, most: float) -> Tensor:
    """The largest integer k with largest * 2^k <= most."""
    return torch.floor(torch.log2(most / largest.clamp_min(1e-9)))


def rounded_rows(weight: Tensor, bias: Tensor, scale: int, most: int, out: int) -> Rows:
    """A layer [rows, columns] with biases [..., rows] whose inputs are at most `most` * 2^-scale, its outputs * 2^-out.

    Rows that could leave the 24 bits get coarser weights, rows too large to be scaled down are cut off.
    """
    with torch.no_grad():
        size = weight.abs()
        biases = bias.abs().reshape(-1, len(weight)).amax(0)
        sums = size.sum(1) * most * 2.0**-scale + biases
        bits = torch.minimum(bits_for(size.amax(1), MAX_WEIGHT), bits_for(sums, _MARGIN * EXACT) - scale)
        bits = bits.clamp(out - scale, out - scale + MAX_SHIFT)
        unit = torch.exp2(bits)[:, None]
        whole = torch.round(weight * unit).clamp(-MAX_WEIGHT, MAX_WEIGHT) / unit
        unit = torch.exp2(bits + scale)
        whole_bias = torch.round(bias * unit) / unit
    return Rows(through(whole, weight), through(whole_bias, bias), bits)


def activate(sums: Tensor, bits: int) -> Tensor:
    """Rectified sums, rounded to 0 .. 255 times 2^-bits."""
    rounded = torch.floor(sums * 2.0**bits + 0.5).clamp(0, MAX_ACTIVATION) / 2.0**bits
    return through(rounded, sums.clamp(0, MAX_ACTIVATION / 2.0**bits))


def rounded(sums: Tensor, bits: int) -> Tensor:
    """Sums rounded to multiples of 2^-bits."""
    return through(torch.floor(sums * 2.0**bits + 0.5) / 2.0**bits, sums)


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
