"""Where to look: pixels near a recent change are attended to, all others cost one flag a block while nothing happens.

A pixel is attended to when something changed within `dilation` pixels of it in the last `history` grids: most of a
picture stands still, and what moves, moves on from where it was. A block that changes elsewhere is a surprise, flagged
and then attended to as a whole.
"""

import numpy as np

from pacodec.entropy import Bits, Integers, SymbolCoder
from pacodec.predictors.blocks import BLOCK, in_blocks, over_blocks
from pacodec.predictors.hashing import salts, scramble
from pacodec.predictors.logistic import UNIT
from pacodec.predictors.mixer import MAX_BATCH, Mixer

_TABLE_BITS = 18
_RARE = -5 * UNIT
"""Log-odds of a surprise before anything is known."""
_MAX_AGE = 255


class Attention:
    """The attended pixels of each grid of one GOP. Encoder and decoder run the same object."""

    def __init__(self, shape: tuple[int, ...], dilation: int) -> None:
        """`shape`: height and width of the grid."""
        height, width = shape
        self._dilation = dilation
        self._blocks = _Surprises(-(-height // BLOCK), -(-width // BLOCK))

    def code(self, coder: SymbolCoder, recent: Bits, changed: Bits | None) -> Bits:
        """The attended pixels of the next grid, bool [h, w].

        `recent`: where one of the last `history` grids changed; `changed`: where this one differs from the last, or
        None when decoding; both bool [h, w].
        """
        attended = _dilated(_dilated(recent, self._dilation).T, self._dilation).T
        surprised = None if changed is None else np.any(in_blocks(changed & ~attended), (1, 3))
        # A block that is attended to as a whole holds no surprise.
        asked = np.any(in_blocks(~attended), (1, 3))
        blocks = self._blocks.code(coder, asked, surprised)
        if blocks.any():
            attended |= over_blocks(blocks, attended.shape)
        return attended


def _dilated(mask: Bits, distance: int) -> Bits:
    """Where a row of the mask, at most `distance` away, is set; bool [h, w]."""
    grown = mask.copy()
    for step in range(1, distance + 1):
        grown[step:] |= mask[:-step]
        grown[:-step] |= mask[step:]
    return grown


class _Surprises:
    """Codes which blocks surprise, in contexts of when that happened last, here and next door: blinking is regular."""

    def __init__(self, rows: int, columns: int) -> None:
        self._age = np.full((rows + 2, columns + 2), _MAX_AGE, np.int64)
        self._period = np.full((rows + 2, columns + 2), _MAX_AGE, np.int64)
        stride = columns + 2
        self._around = np.array([-stride - 1, -stride, -stride + 1, -1, 1, stride - 1, stride, stride + 1])[:, None]
        self._salts = salts(5)[:, None]
        self._mixer = Mixer(len(self._salts), 1, _TABLE_BITS, prior=True)

    def code(self, coder: SymbolCoder, asked: Bits, truth: Bits | None) -> Bits:
        """bool [rows, columns]; blocks that are not `asked` about hold no surprise."""
        surprised = np.zeros(asked.shape, np.bool_)
        row, column = np.nonzero(asked)
        for at in range(0, len(row), MAX_BATCH):
            y, x = row[at : at + MAX_BATCH], column[at : at + MAX_BATCH]
            contexts = self._contexts((y + 1) * (asked.shape[1] + 2) + x + 1)
            chosen, prior = np.zeros(len(y), np.int64), np.full(len(y), _RARE)
            surprised[y, x] = self._mixer.code(coder, contexts, chosen, None if truth is None else truth[y, x], prior)
        age, period = self._age[1:-1, 1:-1], self._period[1:-1, 1:-1]
        np.minimum(age + 1, _MAX_AGE, out=age)
        period[surprised] = age[surprised]
        age[surprised] = 0
        return surprised

    def _contexts(self, places: Integers) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint64]]":
        age, period = self._age.reshape(-1)[places], self._period.reshape(-1)[places]
        youngest = self._age.reshape(-1)[places + self._around].min(0)
        fields = np.stack([age * 256 + period, places, age * 256 + youngest, period - age, youngest])
        return scramble((fields + (1 << 32)).astype(np.uint64) * self._salts)
