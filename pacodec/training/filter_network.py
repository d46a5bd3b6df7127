"""The post-filter's network while it is trained: in floats, at the end in floats that are scaled integers."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pacodec.errors import ModelError
from pacodec.transforms.integer_layer import EXACT, MAX_ACTIVATION, largest_sum
from pacodec.transforms.postfilter import FOLD, MIDDLE, NUMBERS, POSTFILTER, Shape

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


INPUT_BITS = 7
"""Levels less the middle one are -1 .. 1 for the network."""
PERCENTILE = 0.9999
"""Share of the activations that fit into 8 bits."""
_QUANTILE_VALUES = 1 << 23
"""Activations that a percentile is taken of, at most."""


class FilterNetwork(nn.Module):
    """From pictures of palette colours to pictures nearer to what was meant; see `transforms.postfilter`."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        width = shape.width
        self.first = nn.Conv2d(NUMBERS, width, 3, padding=1)
        self.inner = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2 * shape.blocks))
        self.last = nn.Conv2d(width, NUMBERS, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]
        self.activation_bits: Tensor
        self.register_buffer("activation_bits", torch.zeros(1 + shape.blocks, dtype=torch.int64))
        self.rounds = False
        """Whether weights and activations are rounded as those of the integer network."""

    @torch.no_grad()
    def calibrate(self, pictures: Tensor) -> None:
        """Choose how activations are scaled, by those of some pictures; from here on all is rounded."""
        self.rounds = False
        tops = torch.zeros(len(self.activation_bits))
        for which, values in self._activations(functional.pixel_unshuffle(pictures, FOLD)):
            top = torch.quantile(values.flatten()[:_QUANTILE_VALUES].float(), PERCENTILE)
            tops[which] = torch.maximum(tops[which], top.cpu())
        self.activation_bits.copy_(bits_for(tops.clamp_min(1e-3), MAX_ACTIVATION).long())
        self.rounds = True

    def forward(self, pictures: Tensor) -> Tensor:
        """float32 [n, 3, H, W] of levels (level - 128) / 128, of even sides, to the same."""
        *_, (_, values) = self._activations(functional.pixel_unshuffle(pictures, FOLD))
        corrections = self._sums(self.last, values, self._stream_bits, INPUT_BITS, MAX_ACTIVATION)
        if self.rounds:
            corrections = rounded(corrections, INPUT_BITS)
        return pictures + functional.pixel_shuffle(corrections, FOLD)

    def export(self) -> Arrays:
        """Tensors of a model file, of a network that rounds; ModelError where a sum could leave the exact integers."""
        arrays: Arrays = {}
        stream = self._stream_bits
        names = [f"{POSTFILTER}.block{number}.{half}" for number in range(1, self.shape.blocks + 1) for half in "ab"]
        scales = [stream]
        for bits in self.activation_bits[1:].tolist():
            scales += [bits, stream]
        arrays |= layer_arrays(
            f"{POSTFILTER}.first", self._rows(self.first, INPUT_BITS, stream, MIDDLE), INPUT_BITS, stream, MIDDLE
        )
        for name, layer, (scale, out) in zip(names, self._inner, pairwise(scales), strict=True):
            rows = self._rows(layer, scale, out, MAX_ACTIVATION)
            arrays |= layer_arrays(name, rows, scale, out, MAX_ACTIVATION)
        rows = self._rows(self.last, stream, INPUT_BITS, MAX_ACTIVATION)
        return arrays | layer_arrays(f"{POSTFILTER}.last", rows, stream, INPUT_BITS, MAX_ACTIVATION)

    @property
    def _inner(self) -> list[nn.Conv2d]:
        return [layer for layer in self.inner if isinstance(layer, nn.Conv2d)]

    @property
    def _stream_bits(self) -> int:
        return int(self.activation_bits[0])

    def _activations(self, groups: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Every layer's activations and which of `activation_bits` they have; the last are what `last` sees."""
        stream = self._stream_bits
        values = self._activate(self._sums(self.first, groups, INPUT_BITS, stream, MIDDLE), stream)
        yield 0, values
        inner = iter(self._inner)
        for which, (first, second) in enumerate(zip(inner, inner, strict=True), 1):
            bits = int(self.activation_bits[which])
            hidden = self._activate(self._sums(first, values, stream, bits, MAX_ACTIVATION), bits)
            yield which, hidden
            values = self._activate(values + self._sums(second, hidden, bits, stream, MAX_ACTIVATION), stream)
            yield 0, values

    def _activate(self, sums: Tensor, bits: int) -> Tensor:
        return activate(sums, bits) if self.rounds else functional.relu(sums)

    def _sums(self, layer: nn.Conv2d, values: Tensor, scale: int, out: int, most: int) -> Tensor:
        if not self.rounds:
            return functional.conv2d(values, layer.weight, layer.bias, padding=1)
        rows = self._rows(layer, scale, out, most)
        weight = rows.weight.view(-1, 3, 3, layer.in_channels).permute(0, 3, 1, 2)
        return functional.conv2d(values, weight, rows.bias, padding=1)

    def _rows(self, layer: nn.Conv2d, scale: int, out: int, most: int) -> Rows:
        """Weights as [out, 9 * in], in the order of `postfilter`'s windows."""
        assert layer.bias is not None
        return rounded_rows(layer.weight.permute(0, 2, 3, 1).flatten(1), layer.bias, scale, most, out)
