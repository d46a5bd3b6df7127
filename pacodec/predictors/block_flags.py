"""Which 8x8 blocks of a grid differ from the last one: all that an unchanged part of the picture costs."""

import numpy as np

from pacodec.entropy import Bits, Integers, SymbolCoder
from pacodec.predictors.hashing import salts, scramble
from pacodec.predictors.mixer import MAX_BATCH, Mixer

LATTICES = ((0, 0), (1, 1), (0, 1), (1, 0))
"""The 2x2 sub-lattices (row, column), coded in this order: each sees its neighbours on those before it."""

_TABLE_BITS = 18
_POWERS = (1 << np.arange(8))[:, None]


class BlockFlags:
    """Codes one flag a block, in contexts of the neighbours' flags now, in the last grid and in the one before."""

    def __init__(self, rows: int, columns: int) -> None:
        self._rows, self._columns = rows, columns
        self._history = np.zeros((3, rows + 2, columns + 2), np.int64)
        stride = columns + 2
        self._around = np.array([-stride, stride, -1, 1, -stride - 1, -stride + 1, stride - 1, stride + 1])[:, None]
        self._salts = salts(6)[:, None]
        self._mixer = Mixer(len(self._salts), len(LATTICES), _TABLE_BITS)

    def code(self, coder: SymbolCoder, truth: Bits | None, hints: Bits | None = None) -> Bits:
        """The flags of the next grid, bool [rows, columns]; `truth` is the same, or None when decoding; `hints`: what
        else is known of each block.
        """
        self._history[1:] = self._history[:-1].copy()
        self._history[0] = 0
        now = self._history[0].reshape(-1)
        for lattice, (top, left) in enumerate(LATTICES):
            row, column = np.mgrid[top : self._rows : 2, left : self._columns : 2].reshape(2, -1)
            for at in range(0, len(row), MAX_BATCH):
                y, x = row[at : at + MAX_BATCH], column[at : at + MAX_BATCH]
                places = (y + 1) * (self._columns + 2) + x + 1
                chosen = np.full(len(places), lattice)
                fields = self._contexts(places) * 4 + lattice
                if hints is not None:
                    fields += hints[y, x].astype(np.int64) << 40
                contexts = scramble(fields.astype(np.uint64) * self._salts)
                now[places] = self._mixer.code(coder, contexts, chosen, None if truth is None else truth[y, x])
        flags: Bits = self._history[0, 1:-1, 1:-1] != 0
        return flags

    def _contexts(self, places: Integers) -> Integers:
        now, last, before = self._history.reshape(3, -1)
        around, around_last = now[places + self._around], last[places + self._around]
        own = 2 * before[places] + last[places]
        pattern, pattern_last = (around * _POWERS).sum(0), (around_last * _POWERS).sum(0)
        return np.stack(
            [
                own + 4 * around.sum(0) + 64 * around_last.sum(0),
                own + 4 * places,
                own + 4 * pattern,
                own + 4 * pattern_last,
                own + 4 * (pattern * 256 + pattern_last),
                own + 4 * ((pattern & 15) * 16 + (pattern_last & 15)),
            ]
        )
