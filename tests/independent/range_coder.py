"""Section "Range coder"."""

import struct
from collections.abc import Sequence
from itertools import accumulate

from independent.refusal import expect
from independent.tables import MASK

WHOLE = 1 << 24


class RangeCoder:
    """Decodes symbols from words of 32 bits."""

    def __init__(self, data: bytes) -> None:
        expect(len(data) % 4 == 0, "the range coder's data is no whole number of words")
        self._words = struct.unpack(f"<{len(data) // 4}I", data)
        self._read = 0
        self._lower, self._range = 0, MASK
        self._point = self._word() << 32
        self._point |= self._word()

    def decision(self, probability: int) -> bool:
        """False or true, the latter of a probability in units of 1/65536."""
        assert 1 <= probability <= 65535
        edge = (65536 - probability) * (WHOLE - 2) // 65536 + 1
        scale, quantile = self._quantile()
        if quantile < edge:
            self._narrow(scale, 0, edge)
            return False
        self._narrow(scale, edge, WHOLE)
        return True

    def symbol(self, frequencies: Sequence[int]) -> int:
        """A symbol of a table of frequencies."""
        total, count = sum(frequencies), len(frequencies)
        assert min(frequencies) > 0
        assert total & (total - 1) == 0
        assert total <= WHOLE
        sums = [0, *accumulate(frequencies)]
        edges = [sums[s] * (WHOLE - count) // total + s for s in range(count)] + [WHOLE]
        scale, quantile = self._quantile()
        symbol = next(s for s in range(count) if quantile < edges[s + 1])
        self._narrow(scale, edges[symbol], edges[symbol + 1])
        return symbol

    def finish(self) -> None:
        """Refuse data that holds more than was asked for."""
        left = self._read < len(self._words)
        pending = self._range < MASK and (self._point - self._lower) & MASK >= (1 << 33) - 1
        expect(not left and not pending, "the range coder's data goes on after the last symbol")

    def _word(self) -> int:
        self._read += 1
        return self._words[self._read - 1] if self._read <= len(self._words) else 0

    def _quantile(self) -> tuple[int, int]:
        scale = self._range >> 24
        quantile = ((self._point - self._lower) & MASK) // scale
        expect(quantile < WHOLE, "the range coder's data is impossible")
        return scale, quantile

    def _narrow(self, scale: int, low: int, high: int) -> None:
        self._lower, self._range = (self._lower + scale * low) & MASK, scale * (high - low)
        if self._range < 1 << 32:
            self._lower, self._range = self._lower << 32 & MASK, self._range << 32
            self._point = (self._point << 32 & MASK) | self._word()
