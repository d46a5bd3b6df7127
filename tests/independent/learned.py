"""Section "`learned`": a network foresees channel 0."""

from collections.abc import Sequence

import numpy as np
from independent.doubts import Doubt, Line, rounds, trend
from independent.mixer import Mixer, batches
from independent.model_file import Network
from independent.nominal import NEIGHBOURS, SIDE, Grid, Nominal
from independent.ordinal import shared_out
from independent.range_coder import RangeCoder
from independent.surprises import Surprises
from independent.tables import exp, mixed, salt, salted, scramble, squash, stretch
from numpy.typing import NDArray

Plane = NDArray[np.int64]
"""[height, width]."""
UNKNOWN, OUTSIDE = 256, 257
CERTAIN = 1792
"""Gate from which on the network alone is asked."""
PASSES = 5


def bucket(v: int) -> int:
    """One of 16 ranges of log-odds."""
    return min(max(v // 224 + 8, 0), 15)


class Learned:
    """The model of a GOP whose grids follow the start [channels, height, width]."""

    def __init__(self, network: Network, start: Grid) -> None:
        self._network = network
        self._others = Nominal(start, given=1) if len(start) > 1 else None
        plane = start[0].astype(np.int64)
        self._height, self._width = plane.shape
        self._planes = [plane] * max(len(network.radii), 3)
        """Grids t, t - 1, and so on; of grid t what is decoded of it."""
        self._moved: list[NDArray[np.bool_]] = []
        """Places that moved in grid t - 1, t - 2, and so on, as far back as anyone asks."""
        self._background = plane.copy()
        self._rows, self._columns = -(-self._height // SIDE), -(-self._width // SIDE)
        self._surprises = Surprises(self._rows, self._columns)
        self._same = Mixer(6, 240, 20, prior=True)
        self._candidates = (Mixer(3, 80, 20, prior=True), Mixer(3, 80, 20, prior=True))
        self._successors: dict[int, int] = {}
        self._unknown = np.zeros(plane.shape, np.bool_)

    def decode(self, coder: RangeCoder) -> Grid:
        """The next grid."""
        attended = self._attended(coder)
        self._planes = [self._planes[0].copy(), *self._planes[:-1]]
        self._unknown = attended.copy()
        for number, places in enumerate(self._passes(attended)):
            for batch in batches(places):
                codes = self._decode_batch(coder, number, batch)
                for (y, x), code in zip(batch, codes, strict=True):
                    self._planes[0][y, x], self._unknown[y, x] = code, False
        self._settle()
        leading = self._planes[0].astype(np.uint8)[None]
        return leading.copy() if self._others is None else self._others.decode(coder, leading)

    def _attended(self, coder: RangeCoder) -> NDArray[np.bool_]:
        d = self._network.dilation
        near = np.zeros((self._height, self._width), np.bool_)
        for moved in self._moved[: self._network.history]:
            for y, x in np.argwhere(moved).tolist():
                near[max(0, y - d) : y + d + 1, max(0, x - d) : x + d + 1] = True
        blocks = [(y, x) for y in range(self._rows) for x in range(self._columns) if not near[_area(y, x)].all()]
        for y, x in self._surprises.decode(coder, blocks):
            near[_area(y, x)] = True
        return near

    @staticmethod
    def _passes(attended: NDArray[np.bool_]) -> list[list[tuple[int, int]]]:
        passes: list[list[tuple[int, int]]] = [[] for _ in range(PASSES)]
        for y, x in np.argwhere(attended).tolist():
            if y % 4 == x % 4 == 0:
                number = 0
            elif y % 4 == x % 4 == 2:
                number = 1
            elif y % 2 == x % 2 == 0:
                number = 2
            else:
                number = 3 if y % 2 and x % 2 else 4
            passes[number].append((y, x))
        return passes

    def _settle(self) -> None:
        """Put what has held long enough into the background."""
        hold = self._network.hold
        self._moved = [self._planes[0] != self._planes[1], *self._moved[: max(hold, self._network.history) - 1]]
        if len(self._moved) >= hold:
            held = self._moved[hold - 1].copy()
            for later in self._moved[: hold - 1]:
                held &= ~later
            self._background[held] = self._planes[0][held]

    def _inputs(self, places: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
        rows, columns = np.array(places).T
        parts = []
        last = len(self._network.radii) - 1
        for j, r in enumerate(self._network.radii):
            plane = self._background if j == last else self._planes[j]
            if j == 0:
                plane = np.where(self._unknown, UNKNOWN, plane)
            wide = np.pad(plane, r, constant_values=OUTSIDE)
            window = range(2 * r + 1)
            parts += [self._network.embedding[wide[rows + dy, columns + dx]] for dy in window for dx in window]
        return np.concatenate(parts, 1).astype(np.int64)

    def _surroundings(self, y: int, x: int) -> list[int]:
        now, last, before = self._planes[:3]
        around = [
            (min(max(y + dy, 0), self._height - 1), min(max(x + dx, 0), self._width - 1)) for dy, dx in NEIGHBOURS
        ]
        here = [last[y, x], before[y, x]]
        return [int(code) for code in (*here, *(now[p] for p in around), *(last[p] for p in around))]

    def _decode_batch(self, coder: RangeCoder, number: int, places: Sequence[tuple[int, int]]) -> list[int]:
        gates, hidden = self._network.outlook(self._inputs(places), number)
        around = [self._surroundings(y, x) for y, x in places]
        codes = [u[0] for u in around]
        doubtful = [i for i, gate in enumerate(gates) if gate < CERTAIN]
        kept = {i: coder.decision(squash(gate)) for i, gate in enumerate(gates) if gate >= CERTAIN}
        doubts = [Doubt(i, *places[i], around[i], gates[i]) for i in doubtful]
        kept |= self._doubtful(coder, number, doubts)
        left = [i for i in range(len(places)) if not kept[i]]
        if left:
            changed = self._changed(coder, number, [around[i] for i in left], self._network.logits(hidden[left]))
            for i, code in zip(left, changed, strict=True):
                codes[i] = code
        return codes

    def _doubtful(self, coder: RangeCoder, number: int, doubts: Sequence[Doubt]) -> dict[int, bool]:
        """Which of the places keep their code, by their number in the batch."""
        kept: dict[int, bool] = {}
        rows, columns = Line(), Line()
        for part in rounds(number, doubts):
            hashes, sets = [], []
            for doubt in part:
                u, b = doubt.around, bucket(doubt.gate)
                s, z = rows.state(doubt.y, u[0]), columns.state(doubt.x, u[0])
                q = 5 * (16 * s + z) + number
                place = doubt.y * self._width + doubt.x
                contexts = (mixed(u, 18, number), mixed(u, 6, number + 5 * b), (u[0] << 32) + place, 5 * b + number)
                hashes.append(salted((*contexts, 16 * q + b, 256 * q + u[0])))
                sets.append(3 * (16 * number + b) + trend(s))
            decided = self._same.decide(coder, hashes, sets, [doubt.gate for doubt in part])
            for doubt, same in zip(part, decided, strict=True):
                kept[doubt.number] = same
                rows.add(doubt.y, doubt.around[0], same)
                columns.add(doubt.x, doubt.around[0], same)
        return kept

    def _changed(
        self, coder: RangeCoder, number: int, around: Sequence[Sequence[int]], logits: Sequence[Sequence[int]]
    ) -> list[int]:
        """Codes of places that do not keep theirs."""
        weights = [[max(exp(v - max(row)), 256) for v in row] for row in logits]
        for row, u in zip(weights, around, strict=True):
            row[u[0]] = 0
        slots = [scramble(mixed(u, 18, number)) >> 46 for u in around]
        proposals = ([row.index(max(row)) for row in weights], [self._successors.get(slot, 0) for slot in slots])
        codes: dict[int, int] = {}
        for proposed, mixer in zip(proposals, self._candidates, strict=True):
            asked = [i for i in range(len(around)) if i not in codes and weights[i][proposed[i]]]
            hashes, sets, priors = [], [], []
            for i in asked:
                e, u = proposed[i], around[i]
                prior = stretch(min(max(65536 * weights[i][e] // sum(weights[i]), 1), 65535))
                b = bucket(prior)
                hashes.append(
                    salted((mixed(u, 18, number) + salt(e % 32) + e, mixed(u, 6, number) + e, 5 * b + number))
                )
                sets.append(16 * number + b)
                priors.append(prior)
            for i, right in zip(asked, mixer.decide(coder, hashes, sets, priors), strict=True):
                if right:
                    codes[i] = proposed[i]
                else:
                    weights[i][proposed[i]] = 0
        found = [codes[i] if i in codes else coder.symbol(shared_out(row, 1 << 20)) for i, row in enumerate(weights)]
        self._successors |= zip(slots, found, strict=True)
        return found


def _area(row: int, column: int) -> tuple[slice, slice]:
    return slice(SIDE * row, SIDE * (row + 1)), slice(SIDE * column, SIDE * (column + 1))
