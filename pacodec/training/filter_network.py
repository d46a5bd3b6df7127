"""The post-filter's network while it is trained: in floats, at the end in floats that are scaled integers."""

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from pacodec.training.rounding import Arrays, Rows, activate, bits_for, layer_arrays, rounded, rounded_rows
from pacodec.transforms.integer_layer import MAX_ACTIVATION
from pacodec.transforms.postfilter import FOLD, MIDDLE, NUMBERS, POSTFILTER, Shape

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
