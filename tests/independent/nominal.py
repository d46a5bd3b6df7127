"""Section "Nominal": grids of labels, whose changed blocks are decoded a lattice at a time."""

from collections.abc import Sequence

import numpy as np
from independent.mixer import Mixer, batches
from independent.range_coder import RangeCoder
from independent.tables import MASK, salt, scramble
from numpy.typing import NDArray

Grid = NDArray[np.uint8]
"""[channels, height, width]."""
NEIGHBOURS = ((-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))
LATTICES = ((0, 0), (1, 1), (0, 1), (1, 0))
SIDE = 8
"""Of a block."""

_PIXEL_CONTEXTS = (
    (*range(8), *range(12, 21)),
    (0, 1, 2, 3, 12),
    (12, 21, 22, 23, 24, 25),
    (*range(8), 12),
    tuple(range(22)),
    (12, 21),
    (4, 5, 6, 7),
    (32, 33),
)
_SPELLING_CONTEXTS = ((), (12,), (0,), (1,), (2,), (3,), (2, 12), (3, 12), (0, 1), (2, 3), (4, 7), (5, 6))
Terms = list[list[tuple[int, int]]]
"""For each context the features that it looks at, and the factor of each."""


def _terms(contexts: Sequence[Sequence[int]], further: Sequence[int]) -> Terms:
    return [[(r, scramble(salt(34 * i + r)) >> 28) for r in (*context, *further)] for i, context in enumerate(contexts)]


PIXEL_TERMS = _terms(_PIXEL_CONTEXTS, range(26, 32))
SPELLING_TERMS = _terms(_SPELLING_CONTEXTS, range(27, 31))


def context_hashes(terms: Terms, features: Sequence[int]) -> list[int]:
    """One hash a context."""
    return [scramble((salt(i) + sum(m * features[r] for r, m in row)) & MASK) for i, row in enumerate(terms)]


class BlockFlags:
    """Which blocks change, decoded from which did in the two grids before."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self._width = columns + 2
        self._last = [0] * ((rows + 2) * self._width)
        self._before = self._last.copy()
        self._mixer = Mixer(6, 4, 18)

    def decode(self, coder: RangeCoder, hints: NDArray[np.bool_]) -> list[tuple[int, int]]:
        """Row and column of the blocks that changed; `hints` [rows, columns] of those whose given channels did."""
        now = [0] * len(self._last)
        for number, (top, left) in enumerate(LATTICES):
            blocks = [(y, x) for y in range(top, self.rows, 2) for x in range(left, self.columns, 2)]
            for batch in batches(blocks):
                hashes = [self._hashes(now, y, x, number, int(hints[y, x])) for y, x in batch]
                flags = self._mixer.decide(coder, hashes, [number] * len(batch))
                for (y, x), flag in zip(batch, flags, strict=True):
                    now[self._place(y, x)] = int(flag)
        self._before, self._last = self._last, now
        return [(y, x) for y in range(self.rows) for x in range(self.columns) if now[self._place(y, x)]]

    def _place(self, y: int, x: int) -> int:
        return (y + 1) * self._width + x + 1

    def _hashes(self, now: list[int], y: int, x: int, lattice: int, hint: int) -> list[int]:
        place = self._place(y, x)
        own = 2 * self._before[place] + self._last[place]
        around = [place + dy * self._width + dx for dy, dx in NEIGHBOURS]
        n, m = sum(now[p] for p in around), sum(self._last[p] for p in around)
        new, old = (sum(flags[p] << j for j, p in enumerate(around)) for flags in (now, self._last))
        facts = (n + 16 * m, place, new, old, 256 * new + old, 16 * (new % 16) + old % 16)
        return [scramble(((own + 4 * a) * 4 + lattice + (hint << 40)) * salt(i) & MASK) for i, a in enumerate(facts)]


class Nominal:
    """The model of a GOP; the first `given` channels of each grid are known from elsewhere."""

    def __init__(self, first: Grid, given: int = 0) -> None:
        self._channels, self._height, self._width = first.shape
        self._given = given
        self._flags = BlockFlags(-(-self._height // SIDE), -(-self._width // SIDE))
        self._stride = SIDE * self._flags.columns + 4
        self._last = self._bordered(first)
        self._before = [plane.copy() for plane in self._last]
        self._same, self._proposed, self._spelled = Mixer(8, 72, 22), Mixer(8, 16, 22), Mixer(12, 32, 20)
        self._successors: tuple[dict[int, int], dict[int, int]] = ({}, {})

    def decode(self, coder: RangeCoder, given: Grid | None = None) -> Grid:
        """The next grid; `given` [channels, height, width] is what is known of it."""
        now = [plane.copy() for plane in self._last]
        hints = np.zeros((self._flags.rows, self._flags.columns), np.bool_)
        if given is not None:
            now[: self._given] = self._bordered(given)
            for new, old in zip(now[: self._given], self._last, strict=False):
                for p, (a, b) in enumerate(zip(new, old, strict=True)):
                    if a != b:
                        y, x = divmod(p, self._stride)
                        hints[(y - 2) // SIDE, (x - 2) // SIDE] = True
        changed = self._flags.decode(coder, hints)
        for channel in range(self._given, self._channels):
            for blocks in batches(changed, 96):
                for number, lattice in enumerate(LATTICES):
                    places = self._places(blocks, lattice)
                    if places:
                        self._decode_batch(coder, now, channel, number, places)
        self._before, self._last = self._last, now
        planes = np.array(now, np.uint8).reshape(self._channels, -1, self._stride)
        return planes[:, 2 : 2 + self._height, 2 : 2 + self._width].copy()

    def _bordered(self, grid: Grid) -> list[list[int]]:
        whole = np.zeros((len(grid), SIDE * self._flags.rows + 4, self._stride), np.uint8)
        whole[:, 2 : 2 + self._height, 2 : 2 + self._width] = grid
        planes: list[list[int]] = whole.reshape(len(grid), -1).tolist()
        return planes

    def _places(self, blocks: Sequence[tuple[int, int]], lattice: tuple[int, int]) -> list[int]:
        offsets = [(y, x) for y in range(lattice[0], SIDE, 2) for x in range(lattice[1], SIDE, 2)]
        places = [(SIDE * row + y, SIDE * column + x) for row, column in blocks for y, x in offsets]
        return [(y + 2) * self._stride + x + 2 for y, x in places if y < self._height and x < self._width]

    def _features(self, now: list[list[int]], channel: int, lattice: int, p: int) -> list[int]:
        z = self._stride
        around = [p + dy * z + dx for dy, dx in NEIGHBOURS]
        new, last = now[channel], self._last[channel]
        lower = range(min(channel, 3))
        features = [new[q] for q in around] + [new[p + d] for d in (-2 * z, 2 * z, -2, 2)]
        features += [last[p], *(last[q] for q in around), self._before[channel][p]]
        features += [p >> shift & 255 for shift in (0, 8, 16, 24)] + [lattice, min(channel, 255)]
        features += [now[k][p] if k in lower else 0 for k in range(3)]
        features.append(int(channel > 0 and all(now[k][p] == self._last[k][p] for k in lower)))
        features.append(sum(1 << 7 - j for j in range(8) if features[j] != features[13 + j]))
        features.append(int(features[12] != features[21]))
        return features

    def _decode_batch(
        self, coder: RangeCoder, now: list[list[int]], channel: int, lattice: int, places: Sequence[int]
    ) -> None:
        features = [self._features(now, channel, lattice, p) for p in places]
        hashes = [context_hashes(PIXEL_TERMS, row) for row in features]
        sets = [row[32].bit_count() + 9 * (lattice + 4 * min(channel, 1)) for row in features]
        same = self._same.decide(coder, hashes, sets)
        left = [i for i, kept in enumerate(same) if not kept]
        slots = {i: (hashes[i][0] >> 46, hashes[i][1] >> 46) for i in left}
        proposals = {i: [self._successors[t].get(slots[i][t], 0) for t in (0, 1)] for i in left}
        codes: dict[int, int] = {}
        for t in (0, 1):
            asked = [
                i
                for i in left
                if i not in codes
                and proposals[i][t] != features[i][12]
                and (t == 0 or proposals[i][0] != proposals[i][1])
            ]
            told = [[scramble((h + salt(proposals[i][t])) & MASK) for h in hashes[i]] for i in asked]
            agreed = [2 * (4 * t + lattice) + int(proposals[i][0] == proposals[i][1]) for i in asked]
            for i, right in zip(asked, self._proposed.decide(coder, told, agreed), strict=True):
                if right:
                    codes[i] = proposals[i][t]
        rest = [i for i in left if i not in codes]
        codes |= zip(rest, self._spell(coder, [features[i] for i in rest], lattice), strict=True)
        for i in left:
            now[channel][places[i]] = codes[i]
            for t in (0, 1):
                self._successors[t][slots[i][t]] = codes[i]

    def _spell(self, coder: RangeCoder, features: Sequence[Sequence[int]], lattice: int) -> list[int]:
        hashes = [context_hashes(SPELLING_TERMS, row) for row in features]
        nodes = [1] * len(features)
        for depth in range(8):
            told = [[scramble((h + salt(node)) & MASK) for h in row] for row, node in zip(hashes, nodes, strict=True)]
            bits = self._spelled.decide(coder, told, [4 * depth + lattice] * len(nodes))
            nodes = [2 * node + bit for node, bit in zip(nodes, bits, strict=True)]
        return [node & 255 for node in nodes]
