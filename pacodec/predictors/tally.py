"""What the pixels of one pass have done so far, by row and by column: what happens to many at once is told only once.

The pixels of a pass are coded side by side and do not see each other. Where a whole line flips, each of them would pay
for the same surprise; so a pass with much to tell does it in rounds, a few pixels first, and those after them know by
their row and their column how others of the same last code went.
"""

import numpy as np

from pacodec.entropy import Bits, Integers
from pacodec.predictors.past import Codes

_MOST = 3
"""Pixels of a line up to which they are told apart by number."""
STATES = (_MOST + 1) ** 2
"""Of one line: how many pixels changed and how many kept their code."""
_MODULUS = 64
_SKEW = 21
"""A lattice whose every residue is spread over all rows and columns."""
_ROUNDS = (64, 16, 4, 1)
"""Of so many pixels, one is coded by the end of each round."""
_WORTH_ROUNDS = 64
"""Pixels in doubt from which rounds pay."""

TREND = np.array([0, 1, 1, 1, 2, 2, 1, 1, 2, 2, 2, 1, 2, 2, 2, 2])
"""By state: 0 if nothing was seen, 1 if most kept their code, 2 if as many changed or more."""
TRENDS = 3


def rounds(places: Integers, width: int, spacing: int) -> list[Integers]:
    """Numbers of the pixels at n places (y * width + x) of a pass, in order and round by round.

    `spacing`: of the pixels of a pass in a row.
    """
    if len(places) < _WORTH_ROUNDS:
        return [np.arange(len(places))] if len(places) else []
    y, x = np.divmod(places, width)
    lattice = (x // spacing + _SKEW * (y // spacing)) % _MODULUS
    parts, done = [], np.zeros(len(places), np.bool_)
    for share in _ROUNDS:
        mine = (lattice % share == 0) & ~done
        done |= mine
        if mine.any():
            parts.append(np.flatnonzero(mine))
    return parts


class Tally:
    """How the pixels coded in earlier rounds of a pass went, by row and by column and by last code."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        """`shape`: height and width of the grid."""
        height, self._width = shape
        self._columns = height * 256
        self._counts = np.zeros((2, (height + self._width) * 256), np.int32)
        self._used: list[Integers] = []

    def states(self, places: Integers, last: Codes) -> Integers:
        """Of the rows and of the columns of n places (y * w + x) with these last codes, 0 .. STATES - 1, [2, n]."""
        changed, kept = np.minimum(self._counts[:, self._lines(places, last)], _MOST).astype(np.int64)
        states: Integers = changed * (_MOST + 1) + kept
        return states

    @staticmethod
    def memory(height: int, width: int) -> int:
        """Bytes of a tally."""
        return 2 * 4 * 256 * (height + width)

    def add(self, places: Integers, last: Codes, same: Bits) -> None:
        """Take what was coded at n places: whether each kept its code."""
        lines = self._lines(places, last)
        np.add.at(self._counts, (same.astype(np.int64), lines), 1)
        self._used.append(lines.ravel())

    def clear(self) -> None:
        """Forget all, before the next pass."""
        for lines in self._used:
            self._counts[:, lines] = 0
        self._used.clear()

    def _lines(self, places: Integers, last: Codes) -> Integers:
        y, x = np.divmod(places, self._width)
        lines: Integers = np.stack([y * 256, self._columns + x * 256]) + last.astype(np.int64)
        return lines
