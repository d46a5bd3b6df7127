"""Channels that are numbers, as FORMAT.md describes them."""

from collections.abc import Callable

import numpy as np
from independent.decisions import KEPT, LEVEL, Contexts, Decisions, clamp
from numpy.typing import NDArray


class NumberGrids:
    """The numbers of the last two grids of a segment, and how the next ones are decoded."""

    def __init__(self, decisions: Decisions, channels: int, height: int, width: int) -> None:
        self.decisions, self.shape = decisions, (channels, height, width)
        self.begin()

    def begin(self) -> None:
        """Forget the grids of the segment before."""
        channels, height, width = self.shape
        self.last = np.zeros((channels, height + 1, width + 2), np.int64)
        self.earlier = self.last

    def decode(self, label: Callable[[int, int], tuple[int, int]]) -> NDArray[np.uint8]:
        """The next grid [channels, height, width]; `label` gives the label of a place, and whether it stays."""
        channels, height, width = self.shape
        now = np.zeros_like(self.last)
        for channel in range(channels):
            for row in range(height):
                for column in range(width):
                    value = self._number(now, channel, row, column, *label(row, column))
                    now[channel, row + 1, column + 1] = value
        self.last, self.earlier = now, self.last
        return now[:, 1:, 1:-1].astype(np.uint8)

    def _number(self, now: NDArray[np.int64], channel: int, row: int, column: int, label: int, stays: int) -> int:
        r, c = row + 1, column + 1
        last, earlier = int(self.last[channel, r, c]), int(self.earlier[channel, r, c])
        left, up, up_left, up_right = (
            int(now[channel, y, x]) for y, x in ((r, c - 1), (r - 1, c), (r - 1, c - 1), (r - 1, c + 1))
        )
        was_left = int(self.last[channel, r, c - 1])
        kept = (left == was_left) | (up == int(self.last[channel, r - 1, c])) << 1
        kept |= (up_right == int(self.last[channel, r - 1, c + 1])) << 2
        under = 0
        if channel:
            under = int(now[channel - 1, r, c])
            kept |= (under == int(self.last[channel - 1, r, c])) << 3
        planar, moved = clamp(left + up - up_left, 0, 255), clamp(last + left - was_left, 0, 255)
        position = channel << 32 | row * self.shape[2] + column

        contexts = Contexts(KEPT << 16)
        contexts.in_table(position)
        contexts.in_table(position, kept | stays << 4)
        contexts.in_table(channel << 8 | last)
        contexts.in_table(channel << 16 | last << 8 | earlier)
        contexts.in_table(channel << 4 | kept)
        contexts.in_table(channel << 8 | label, stays)
        contexts.in_table(last | left << 8 | up << 16, channel)
        contexts.in_table(last | moved << 8 | planar << 16, kept)
        contexts.in_common(kept | stays << 4 | (earlier == last) << 5)
        contexts.in_common(kept | (moved == last) << 4 | (planar == last) << 5)
        both = stays * 2 + (earlier == last)
        group = 16 + min(channel, 31)
        if self.decisions.decide(KEPT, contexts, (kept, group, 48 + both), both, (kept, group)):
            return last
        node = 1
        for bit in range(7, -1, -1):
            contexts = Contexts(LEVEL << 16 | node << 5)
            contexts.in_table(channel)
            contexts.in_table(position)
            contexts.in_table(position, last >> 2 | 64)
            contexts.in_table(channel << 8 | last)
            contexts.in_table(channel << 16 | left >> 2 << 8 | up >> 2)
            contexts.in_table(last << 8 | left)
            contexts.in_table(channel << 8 | under)
            contexts.in_table(last << 8 | earlier)
            contexts.in_table(channel << 8 | planar)
            contexts.in_table(channel << 8 | moved)
            contexts.in_table(channel << 16 | label << 8 | last, stays)
            contexts.in_table(left >> 3 | up >> 3 << 8 | up_right >> 3 << 16, last >> 3)
            group = 256 + (channel & 255)
            node = node << 1 | self.decisions.decide(LEVEL, contexts, (node, group, 512 + bit), bit, (node, group))
        return node & 255
