"""A decoder of the engine's segments, as FORMAT.md describes it: slow, plain, and without a line of pacodec."""

import numpy as np
from independent.decisions import ArithmeticDecoder, Decisions
from independent.label_grids import LabelGrids
from independent.number_grids import NumberGrids
from numpy.typing import NDArray


class Engine:
    """Decodes segments of grids uint8 [channels, height, width], one after the other, and learns from them."""

    def __init__(self, ordinal: bool, channels: int, height: int, width: int) -> None:
        bits = 16
        while bits < 21 and height * width * (channels if ordinal else 1) * 32 > 1 << bits:
            bits += 1
        self._decisions = Decisions(bits)
        planes = 0 if ordinal else 2 if channels == 2 else 1
        self._labels = LabelGrids(self._decisions, planes, height, width) if planes else None
        numbers = channels if ordinal else channels - planes
        self._numbers = NumberGrids(self._decisions, numbers, height, width) if numbers else None

    @property
    def copies(self) -> int:
        """Blocks of labels that were copied by a vector so far."""
        return self._labels.copies if self._labels else 0

    def segment(self, data: bytes, frames: int) -> NDArray[np.uint8]:
        """The grids of a segment, uint8 [frames, channels, height, width]; ValueError where it has another length."""
        self._decisions.coder = ArithmeticDecoder(data)
        if self._labels:
            self._labels.begin()
        if self._numbers:
            self._numbers.begin()
        grids = np.stack([self._grid() for _ in range(frames)])
        if self._decisions.coder.taken != len(data):
            raise ValueError(f"the segment has {len(data)} bytes, of which {self._decisions.coder.taken} were taken")
        return grids

    def _grid(self) -> NDArray[np.uint8]:
        parts = []
        labels = self._labels
        if labels:
            parts.append(labels.decode())
        if self._numbers:
            parts.append(self._numbers.decode(labels.compared if labels else lambda _row, _column: (0, 0)))
        return np.concatenate(parts)
