"""Section "Mixer": decisions predicted from several contexts, which learns a batch at a time."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import TypeVar

from independent.range_coder import RangeCoder
from independent.tables import squash, stretch

T = TypeVar("T")
MAX_BATCH = 4096
MAX_WEIGHT = 1 << 22


def batches(items: Sequence[T], size: int = MAX_BATCH) -> Iterator[Sequence[T]]:
    """The items, at most `size` at a time."""
    for at in range(0, len(items), size):
        yield items[at : at + size]


class Mixer:
    """M(contexts, sets, bits), or P(contexts, sets, bits) with a prior."""

    def __init__(self, contexts: int, sets: int, bits: int, *, prior: bool = False) -> None:
        self._mask = (1 << bits) - 1
        self._ones: defaultdict[int, int] = defaultdict(int)
        self._all: defaultdict[int, int] = defaultdict(int)
        first = [9830] * contexts + [0, 65536] if prior else [19660] * contexts + [0]
        self._weights = [first.copy() for _ in range(sets)]

    def decide(
        self,
        coder: RangeCoder,
        hashes: Sequence[Sequence[int]],
        sets: Sequence[int],
        priors: Sequence[int] | None = None,
    ) -> list[bool]:
        """A batch of decisions, each with the hashes of its contexts, its weight set and, perhaps, its prior."""
        assert len(hashes) <= MAX_BATCH
        slots = [[h & self._mask for h in row] for row in hashes]
        inputs = [[self._opinion(slot) for slot in row] + [256] for row in slots]
        if priors is not None:
            inputs = [[*row, prior] for row, prior in zip(inputs, priors, strict=True)]
        chances = [
            squash(sum(v * w for v, w in zip(row, self._weights[c], strict=True)) >> 16)
            for row, c in zip(inputs, sets, strict=True)
        ]
        decided = [coder.decision(p) for p in chances]
        self._learn_weights(inputs, sets, chances, decided)
        self._learn_counts(slots, decided)
        return decided

    def _opinion(self, slot: int) -> int:
        ones, n = self._ones.get(slot, 0), self._all.get(slot, 0)
        return stretch(min(max(65536 * (10 * ones + 4) // (10 * n + 8), 16), 65520))

    def _learn_weights(
        self, inputs: Sequence[Sequence[int]], sets: Sequence[int], chances: Sequence[int], decided: Sequence[bool]
    ) -> None:
        uses = Counter(sets)
        gradients = {c: [0] * len(self._weights[c]) for c in uses}
        for row, c, p, b in zip(inputs, sets, chances, decided, strict=True):
            for i, v in enumerate(row):
                gradients[c][i] += v * (65536 * b - p)
        for c, gradient in gradients.items():
            for i, g in enumerate(gradient):
                moved = self._weights[c][i] + (10 * g >> 18) // max(uses[c] // 32, 1)
                self._weights[c][i] = max(-MAX_WEIGHT, min(MAX_WEIGHT, moved))

    def _learn_counts(self, slots: Sequence[Sequence[int]], decided: Sequence[bool]) -> None:
        met: dict[bool, set[int]] = {True: set(), False: set()}
        for row, b in zip(slots, decided, strict=True):
            for slot in row:
                self._all[slot] += 1
                self._ones[slot] += b
            met[b].update(row)
        for slot in met[True]:
            self._store(slot, self._ones[slot], self._fade(self._all[slot] - self._ones[slot]))
        for slot in met[False]:
            self._store(slot, self._fade(self._ones[slot]), self._all[slot] - self._ones[slot])
        for slot in met[True] | met[False]:
            n, ones = self._all[slot], self._ones[slot]
            if n > 127:
                divisor = 2 * (n // 127)
                self._store(slot, ones // divisor, (n - ones) // divisor)

    @staticmethod
    def _fade(count: int) -> int:
        return (count >> 1) + 1 if count > 2 else count

    def _store(self, slot: int, ones: int, zeros: int) -> None:
        self._ones[slot], self._all[slot] = ones, ones + zeros
