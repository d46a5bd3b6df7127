"""Section "Learned: attended places": blocks that change without a change nearby."""

from collections.abc import Sequence

import numpy as np
from independent.mixer import Mixer, batches
from independent.nominal import NEIGHBOURS
from independent.range_coder import RangeCoder
from independent.tables import salted


class Surprises:
    """Which blocks without a recent change nearby change all the same."""

    def __init__(self, rows: int, columns: int) -> None:
        self._columns = columns
        self._age = np.full((rows + 2, columns + 2), 255)
        self._period = self._age.copy()
        self._mixer = Mixer(5, 1, 18, prior=True)

    def decode(self, coder: RangeCoder, asked: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """The surprising ones of the blocks, (row, column), that are asked about."""
        surprising = []
        for batch in batches(asked):
            flags = self._mixer.decide(
                coder, [self._hashes(y, x) for y, x in batch], [0] * len(batch), [-1280] * len(batch)
            )
            surprising += [block for block, flag in zip(batch, flags, strict=True) if flag]
        inner = self._age[1:-1, 1:-1]
        inner[...] = np.minimum(inner + 1, 255)
        for y, x in surprising:
            self._period[y + 1, x + 1], self._age[y + 1, x + 1] = self._age[y + 1, x + 1], 0
        return surprising

    def _hashes(self, y: int, x: int) -> list[int]:
        age, period = int(self._age[y + 1, x + 1]), int(self._period[y + 1, x + 1])
        youngest = min(int(self._age[y + 1 + dy, x + 1 + dx]) for dy, dx in NEIGHBOURS)
        place = (y + 1) * (self._columns + 2) + x + 1
        facts = (256 * age + period, place, 256 * age + youngest, period - age, youngest)
        return salted([a + (1 << 32) for a in facts])
