"""Section "Ordinal": grids of quantized values, whose differences are decoded class by class."""

from collections.abc import Sequence

import numpy as np
from independent.nominal import Grid
from independent.range_coder import RangeCoder

EDGES = (2, 5, 9, 14, 22, 36, 60, 110, 200, 400, 800)
MOVED_EDGES = (1, 12, 28, 64, 256)
CLASSES = 12


def _prior(a: int) -> list[int]:
    z = (*EDGES, 1600)[a]
    magnitudes = [min(v, 256 - v) for v in range(256)]
    weights = [1] * 256
    if a < CLASSES - 1:
        weights = [(1 << 20) // (z + 16 * m) ** 2 + (1 << 20) // (z + 4096) ** 2 + 1 for m in magnitudes]
    total = 1 << (10 if a < 10 else 12 if a == 10 else 14)
    return [max(weight * total // sum(weights), 1) for weight in weights]


def shared_out(parts: Sequence[int], total: int) -> list[int]:
    """Positive frequencies of a total; what rounding leaves goes to the first of the largest."""
    spare, whole = total - len(parts), sum(parts)
    frequencies = [part * spare // whole + 1 for part in parts]
    frequencies[frequencies.index(max(frequencies))] += total - sum(frequencies)
    return frequencies


class Ordinal:
    """The model of a GOP."""

    def __init__(self, first: Grid) -> None:
        self._shape = first.shape
        channels = len(first)
        places = first[0].size
        self._last = first.reshape(channels, places).tolist()
        self._recent = [[256] * places for _ in range(channels)]
        self._ends = sorted({max(1, channels // 64), max(1, channels // 16), max(1, channels // 4), channels})
        self._counts = [_prior(a) for a in range(CLASSES) for _ in range(6)]
        self._age = 0

    def decode(self, coder: RangeCoder) -> Grid:
        """The next grid."""
        moved = [0] * len(self._last[0])
        begin = 0
        for end in self._ends:
            classes: dict[int, list[tuple[int, int]]] = {}
            for channel in range(begin, end):
                for place, amount in enumerate(moved):
                    a = sum(edge <= self._recent[channel][place] for edge in EDGES)
                    b = sum(edge <= 16 * amount // begin for edge in MOVED_EDGES) if begin else 0
                    classes.setdefault(6 * a + b, []).append((channel, place))
            for number in sorted(classes):
                self._decode_class(coder, number, classes[number], moved)
            begin = end
        self._age += 1
        return np.array(self._last, np.uint8).reshape(self._shape)

    def _decode_class(
        self, coder: RangeCoder, number: int, members: Sequence[tuple[int, int]], moved: list[int]
    ) -> None:
        counts = self._counts[number]
        frequencies = shared_out(counts, 65536)
        steps = [coder.symbol(frequencies) for _ in members]
        for (channel, place), v in zip(members, steps, strict=True):
            counts[v] += 24
            self._last[channel][place] = (self._last[channel][place] + v) % 256
            m = min(v, 256 - v)
            moved[place] += min(m, 16)
            recent = self._recent[channel]
            recent[place] += (16 * m - recent[place]) >> min(self._age, 3)
        while sum(counts) > 1 << 17:
            counts[:] = [count - (count >> 1) for count in counts]
