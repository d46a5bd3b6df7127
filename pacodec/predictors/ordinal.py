"""Adaptive coding of grids whose neighbouring code values mean similar things: quantized latents, planes of bytes.

Differences from the last grid (mod 256) are coded with adaptive frequency tables, one for each class of activity: how
much a code changed lately, and how much the channels coded before it change at the same place right now. All codes of
one class and one group of channels are one call of the range coder.
"""

import numpy as np
from numpy.typing import NDArray

from pacodec.entropy import Integers, SymbolCoder, normalize
from pacodec.grids import GridSpec

Codes = NDArray[np.uint8]

_GROUP_ENDS = (1, 4, 16)
"""The channels (of 64, in proportion) at which a group of channels ends: the later ones profit from the earlier."""
_TABLE_BITS = 16
_GAIN = 24
"""What one occurrence adds to its count."""
_MOST = 1 << 17
"""A table's counts are halved when their total passes this: statistics drift."""
_PRIOR_BITS = (10,) * 10 + (12, 14)
"""How firmly each class believes in its prior, log2 of its total: noise must not pay for learning that it is noise."""
_UNIT_BITS = 4
"""The recent magnitude of a code's differences is kept in units of 1/16."""
_MEMORY_BITS = 3
"""Each grid moves it by 2^-3 of the way; the first ones by more, since what they correct is only a guess."""
_GUESS = 16 << _UNIT_BITS
_PAST_CLASSES, _PRESENT_CLASSES = 12, 6
_SCALE_EDGES = np.array([2, 5, 9, 14, 22, 36, 60, 110, 200, 400, 800])
_PRESENT_EDGES = np.array([1, 12, 28, 64, 256])


class OrdinalModel:
    """Codes the grids of one GOP after the first. Encoder and decoder run the same object."""

    def __init__(self, spec: GridSpec, first: Codes) -> None:
        """`first`: the GOP's first grid, uint8 [C, h, w], known to both sides."""
        self._last = first.reshape(spec.channels, -1).copy()
        self._shape = first.shape
        self._recent = np.full(self._last.shape, _GUESS, np.int32)
        self._age = 0
        ends = sorted({max(1, spec.channels * end // 64) for end in _GROUP_ENDS} | {spec.channels})
        self._groups = list(zip([0, *ends[:-1]], ends, strict=True))
        self._counts = np.repeat(_prior(), _PRESENT_CLASSES, axis=0)

    @staticmethod
    def memory(spec: GridSpec) -> int:
        """Bytes that coding such grids takes, about: what is kept of each code, and a group's classes and order."""
        return 32 * spec.size

    def code(self, coder: SymbolCoder, truth: Codes | None) -> Codes:
        """The next grid, uint8 [C, h, w]; `truth` is the same, or None when decoding."""
        grid = self._last.copy()
        wanted = None if truth is None else truth.reshape(self._last.shape) - self._last
        moved = np.zeros(self._last.shape[1], np.int64)
        for group, (start, end) in enumerate(self._groups):
            classes = self._classes(start, end, moved if group else None)
            known = None if wanted is None else wanted[start:end].ravel()
            change = self._code_differences(coder, classes, known).reshape(end - start, -1)
            grid[start:end] += change
            magnitude = np.minimum(change, -change).astype(np.int32)
            moved += np.minimum(magnitude, 16).sum(0)
            recent = self._recent[start:end]
            recent += ((magnitude << _UNIT_BITS) - recent) >> min(self._age, _MEMORY_BITS)
        self._age += 1
        self._last = grid
        return grid.reshape(self._shape).copy()

    def _classes(self, start: int, end: int, moved: Integers | None) -> Codes:
        """The class of each code of channels start .. end - 1, uint8 [(end - start) * h * w]."""
        classes = np.searchsorted(_SCALE_EDGES, self._recent[start:end].ravel(), side="right").astype(np.uint8)
        classes *= _PRESENT_CLASSES
        if moved is not None:
            present = np.searchsorted(_PRESENT_EDGES, (moved << _UNIT_BITS) // start, side="right")
            classes += np.tile(present.astype(np.uint8), end - start)
        return classes

    def _code_differences(self, coder: SymbolCoder, classes: Codes, truth: Codes | None) -> Codes:
        """Differences mod 256 of n codes, uint8 [n]."""
        order = np.argsort(classes, kind="stable")
        members = np.bincount(classes, minlength=len(self._counts))
        present = np.flatnonzero(members)
        tables = normalize(self._counts[present], _TABLE_BITS)
        known = None if truth is None else np.split(truth[order].astype(np.int32), np.cumsum(members[present])[:-1])
        symbols = np.concatenate(
            [
                coder.symbols(table, int(count), None if known is None else known[i])
                for i, (table, count) in enumerate(zip(tables, members[present], strict=True))
            ]
        )
        change = np.empty(len(classes), np.uint8)
        change[order] = symbols
        labels = classes[order].astype(np.int64) << 8 | symbols
        self._counts += _GAIN * np.bincount(labels, minlength=self._counts.size).reshape(-1, 256)
        while (heavy := self._counts.sum(1) > _MOST).any():
            self._counts[heavy] -= self._counts[heavy] >> 1
        return change


def _prior() -> Integers:
    """Counts to start from, int64 [_PAST_CLASSES, 256]: the wider, the more a class moves."""
    magnitude = np.minimum(np.arange(256), 256 - np.arange(256))
    scale = np.concatenate([_SCALE_EDGES, [1600]])[:, None]
    weights = (1 << 20) // (scale + (magnitude << _UNIT_BITS)) ** 2 + (1 << 20) // (scale + 4096) ** 2 + 1
    weights[-1] = 1
    totals = 1 << np.array(_PRIOR_BITS)[:, None]
    prior: Integers = np.maximum(weights * totals // weights.sum(1, keepdims=True), 1)
    return prior
