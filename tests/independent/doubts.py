"""Section "Learned: codes", step 2: places of which the network is not certain, round by round."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

SPACING = (4, 4, 2, 2, 1)
"""Of a pass's places in a row."""
FEW = 64
"""Doubtful places from which on there are several rounds."""


@dataclass(frozen=True)
class Doubt:
    """A place of which the network is not certain: its number in the batch, where it is, surroundings and gate."""

    number: int
    y: int
    x: int
    around: Sequence[int]
    gate: int


class Line:
    """What became of places with the same code in the same row, or in the same column."""

    def __init__(self) -> None:
        self._changed: Counter[tuple[int, int]] = Counter()
        self._kept: Counter[tuple[int, int]] = Counter()

    def state(self, line: int, code: int) -> int:
        """One of 16."""
        return 4 * min(self._changed[line, code], 3) + min(self._kept[line, code], 3)

    def add(self, line: int, code: int, kept: bool) -> None:
        """Count a place."""
        (self._kept if kept else self._changed)[line, code] += 1


def trend(state: int) -> int:
    """Whether a state says nothing, that places keep their code, or that they change."""
    if state == 0:
        return 0
    return 1 if state // 4 < state % 4 else 2


def rounds(number: int, doubts: Sequence[Doubt]) -> list[list[Doubt]]:
    """The doubtful places of a pass, in their order, by the round in which they are decided."""
    if len(doubts) < FEW:
        return [list(doubts)]
    d = SPACING[number]
    parts: list[list[Doubt]] = [[] for _ in range(4)]
    for doubt in doubts:
        k = (doubt.x // d + 21 * (doubt.y // d)) % 64
        parts[next(r for r, step in enumerate((64, 16, 4, 1)) if k % step == 0)].append(doubt)
    return parts
