"""Adaptive coding of grids whose codes are bare labels: palette indices and what hangs on them.

Blocks that did not change cost nothing further. Within the others, a plane is coded in four passes over its 2x2
sub-lattices, so that later pixels know their neighbours. A pixel is a chain of decisions: same code as in the last
grid? Else one of the codes that followed the same surroundings before? Else the eight bits of its code. Contexts are
hashes of codes around the pixel in this grid and the last two.
"""

import numpy as np
from numpy.typing import NDArray

from pacodec.entropy import Bits, Integers, SymbolCoder
from pacodec.grids import GridSpec
from pacodec.predictors.block_flags import LATTICES, BlockFlags
from pacodec.predictors.hashing import Hashes, salts, scramble, write_last
from pacodec.predictors.mixer import Mixer

Codes = NDArray[np.uint8]
_Features = NDArray[np.float64]

_BLOCK = 8
_BORDER = 2
_BATCH_BLOCKS = 96
"""Blocks whose pixels are coded at once: few enough for the counts to learn within a large grid, and enough to spread
the cost of a call."""

# Rows of the feature matrix, all in 0 .. 255.
_NEAR = (0, 1, 2, 3)  # up, down, left, right in this grid; where not yet coded, the last grid's code
_DIAGONAL = (4, 5, 6, 7)
_RING = _NEAR + _DIAGONAL
_FAR = (8, 9, 10, 11)  # two steps up, down, left, right
_LAST = (12,)  # the pixel in the last grid
_LAST_RING = (13, 14, 15, 16, 17, 18, 19, 20)
_BEFORE = (21,)  # the pixel in the grid before the last
_PLACE = (22, 23, 24, 25)
_LATTICE = (26,)
_CHANNEL = (27,)
_LOWER = (28, 29, 30, 31)  # the first three channels' codes of this pixel, and whether they are the last grid's
_CHANGES = (32, 33)  # which of the ring changed; whether the pixel changed between the last two grids
_FEATURES = 34

_CONTEXTS = (
    _LAST + _RING + _LAST_RING,
    _LAST + _NEAR,
    _LAST + _PLACE + _BEFORE,
    _LAST + _RING,
    _LAST + _RING + _FAR + _LAST_RING + _BEFORE,
    _LAST + _BEFORE,
    _DIAGONAL,
    _CHANGES,
)
_PROPOSERS = 2
"""The first contexts also remember the code that followed them."""
_SPELLING_CONTEXTS: tuple[tuple[int, ...], ...] = (
    (),
    _LAST,
    *((near,) for near in _NEAR),
    *((*_LAST, side) for side in _NEAR[2:]),
    _NEAR[:2],
    _NEAR[2:],
    (_DIAGONAL[0], _DIAGONAL[3]),
    (_DIAGONAL[1], _DIAGONAL[2]),
)
_TABLE_BITS = 22
_SPELLING_TABLE_BITS = 20
_PROPOSAL_TABLE_BITS = 18


class NominalModel:
    """Codes the grids of one GOP after the first. Encoder and decoder run the same object."""

    def __init__(self, spec: GridSpec, first: Codes, given: int = 0) -> None:
        """`first`: the GOP's first grid, uint8 [C, h, w], known to both sides; `given`: how many channels, from the
        first, are coded elsewhere.
        """
        self._spec, self._given = spec, given
        self._rows, self._columns = -(-spec.height // _BLOCK), -(-spec.width // _BLOCK)
        self._stride = self._columns * _BLOCK + 2 * _BORDER
        shape = (spec.channels, self._rows * _BLOCK + 2 * _BORDER, self._stride)
        self._current, self._last, self._before = (np.zeros(shape, np.uint8) for _ in range(3))
        self._inside(self._last)[...] = first
        self._before[...] = self._last
        self._blocks = BlockFlags(self._rows, self._columns)
        contexts = len(_CONTEXTS)
        self._same = Mixer(contexts, 2 * len(LATTICES) * 9, _TABLE_BITS)
        self._proposed = Mixer(contexts, _PROPOSERS * len(LATTICES) * 2, _TABLE_BITS)
        self._spelled = Mixer(len(_SPELLING_CONTEXTS), 8 * len(LATTICES), _SPELLING_TABLE_BITS)
        self._successors = np.zeros(_PROPOSERS << _PROPOSAL_TABLE_BITS, np.uint8)
        self._context_hash = _multipliers(tuple(c + _LATTICE + _CHANNEL + _LOWER for c in _CONTEXTS))
        self._spelling_hash = _multipliers(tuple(c + _CHANNEL + _LOWER[:3] for c in _SPELLING_CONTEXTS))
        self._code_salts = salts(256 + len(LATTICES))
        s = self._stride
        self._near = np.array([-s, s, -1, 1, -s - 1, -s + 1, s - 1, s + 1])[:, None]
        self._around = np.concatenate([self._near, np.array([-2 * s, 2 * s, -2, 2])[:, None]])
        self._in_block = [
            (np.arange(top, _BLOCK, 2)[:, None] * s + np.arange(left, _BLOCK, 2)).ravel() for top, left in LATTICES
        ]

    @staticmethod
    def memory(spec: GridSpec) -> int:
        """Bytes that coding such grids takes, about: the tables of counts, three padded grids and the copies of one."""
        tables = (2 << _TABLE_BITS) + (1 << _SPELLING_TABLE_BITS)
        return 4 * tables + 8 * spec.size + 2 * spec.height * spec.width

    def code(self, coder: SymbolCoder, truth: Codes | None, leading: Codes | None = None) -> Codes:
        """The next grid, uint8 [C, h, w]; `truth` is the same, or None when decoding; `leading`: its given channels."""
        wanted = None
        if truth is not None:
            wanted = self._last.copy()
            self._inside(wanted)[...] = truth
        self._current[...] = self._last
        if leading is not None:
            self._inside(self._current)[: self._given] = leading
        corners = self._changed_blocks(coder, wanted)
        for channel in range(self._given, self._spec.channels):
            for at in range(0, len(corners), _BATCH_BLOCKS):
                for lattice in range(len(LATTICES)):
                    places = (corners[at : at + _BATCH_BLOCKS, None] + self._in_block[lattice]).ravel()
                    places = self._on_grid(places)
                    if len(places):
                        known = None if wanted is None else wanted[channel].reshape(-1)[places]
                        self._code_pixels(coder, channel, lattice, places, known)
        self._before, self._last, self._current = self._last, self._current, self._before
        return self._inside(self._last).copy()

    def _inside(self, planes: Codes) -> Codes:
        return planes[:, _BORDER : _BORDER + self._spec.height, _BORDER : _BORDER + self._spec.width]

    def _on_grid(self, places: Integers) -> Integers:
        """Blocks at the lower and right edge may reach over it."""
        y, x = np.divmod(places, self._stride)
        return places[(y < self._spec.height + _BORDER) & (x < self._spec.width + _BORDER)]

    def _changed_blocks(self, coder: SymbolCoder, wanted: Codes | None) -> Integers:
        """Places of the first pixel of each changed block, int64 [m]."""
        given = self._given
        truth = None if wanted is None else self._differing(wanted[given:], self._last[given:])
        hints = self._differing(self._current[:given], self._last[:given]) if given else None
        row, column = np.nonzero(self._blocks.code(coder, truth, hints))
        corners: Integers = (row * _BLOCK + _BORDER) * self._stride + column * _BLOCK + _BORDER
        return corners

    def _differing(self, planes: Codes, others: Codes) -> Bits:
        """Blocks in which any plane differs, bool [rows, columns]."""
        differs = (planes != others)[:, _BORDER:-_BORDER, _BORDER:-_BORDER].any(0)
        blocks: Bits = differs.reshape(self._rows, _BLOCK, self._columns, _BLOCK).any((1, 3))
        return blocks

    def _code_pixels(
        self, coder: SymbolCoder, channel: int, lattice: int, places: Integers, truth: Codes | None
    ) -> None:
        features = self._features(channel, lattice, places)
        contexts = _hash(self._context_hash, features)
        codes = features[_LAST[0]].astype(np.uint8)
        changed_near = (features[: len(_RING)] != features[list(_LAST_RING)]).sum(0)
        chosen = changed_near + 9 * (lattice + len(LATTICES) * min(channel, 1))
        same = self._same.code(coder, contexts, chosen, None if truth is None else truth == codes)
        left = np.flatnonzero(~same)
        if len(left):
            rest = None if truth is None else truth[left]
            codes[left] = self._code_change(coder, lattice, features[:, left], contexts[:, left], rest)
            self._current[channel].reshape(-1)[places] = codes

    def _features(self, channel: int, lattice: int, places: Integers) -> _Features:
        """What is known around n places of a channel, float64 [_FEATURES, n] of integers in 0 .. 255."""
        now, last = self._current[channel].reshape(-1), self._last[channel].reshape(-1)
        features = np.zeros((_FEATURES, len(places)))
        features[:12] = now[places + self._around]
        features[12] = last[places]
        features[13:21] = last[places + self._near]
        features[21] = self._before[channel].reshape(-1)[places]
        features[22:26] = places >> np.array([0, 8, 16, 24])[:, None] & 255
        features[26] = lattice
        features[27] = min(channel, 255)
        lower = min(channel, 3)
        if lower:
            codes = self._current[:lower].reshape(lower, -1)[:, places]
            features[28 : 28 + lower] = codes
            features[31] = (codes == self._last[:lower].reshape(lower, -1)[:, places]).all(0)
        features[32] = np.packbits(features[:8] != features[13:21], axis=0)[0]
        features[33] = features[12] != features[21]
        return features

    def _code_change(
        self, coder: SymbolCoder, lattice: int, features: _Features, contexts: Hashes, truth: Codes | None
    ) -> Codes:
        """Codes of n pixels that differ from the last grid's, uint8 [n]."""
        slots = (contexts[:_PROPOSERS] >> np.uint64(64 - _PROPOSAL_TABLE_BITS)).astype(np.int64)
        slots += np.arange(_PROPOSERS)[:, None] << _PROPOSAL_TABLE_BITS
        proposals = self._successors[slots]
        excluded = [features[_LAST[0]].astype(np.uint8)]
        codes = np.zeros(len(proposals[0]), np.uint8)
        left = np.arange(len(codes))
        for turn, proposal in enumerate(proposals):
            asked = left[np.all([proposal[left] != e[left] for e in excluded], axis=0)]
            excluded.append(proposal)
            if not len(asked):
                continue
            code = proposal[asked]
            agreed = (proposals[:, asked] == code).sum(0) > 1
            chosen = (turn * len(LATTICES) + lattice) * 2 + agreed
            hashes = scramble(contexts[:, asked] + self._code_salts[code])
            hit = self._proposed.code(coder, hashes, chosen, None if truth is None else truth[asked] == code)
            codes[asked[hit]] = code[hit]
            left = np.setdiff1d(left, asked[hit], assume_unique=True)
        if len(left):
            codes[left] = self._spell(coder, lattice, features[:, left], None if truth is None else truth[left])
        write_last(self._successors, slots.ravel(), np.tile(codes, len(slots)))
        return codes

    def _spell(self, coder: SymbolCoder, lattice: int, features: _Features, truth: Codes | None) -> Codes:
        """Codes of n pixels, bit by bit from the top, uint8 [n]."""
        contexts = _hash(self._spelling_hash, features)
        node = np.ones(contexts.shape[1], np.int64)
        for depth in range(8):
            hashes = scramble(contexts + self._code_salts[node])
            chosen = np.full(len(node), depth * len(LATTICES) + lattice)
            bit = None if truth is None else (truth >> (7 - depth) & 1).astype(np.bool_)
            node = 2 * node + self._spelled.code(coder, hashes, chosen, bit)
        return (node & 255).astype(np.uint8)


def _multipliers(contexts: tuple[tuple[int, ...], ...]) -> _Features:
    """The linear part of the context hashes, float64 [K, _FEATURES] of integers below 2^36."""
    spread = (scramble(salts(len(contexts) * _FEATURES)) >> np.uint64(28)).reshape(len(contexts), _FEATURES)
    used = np.zeros(spread.shape, np.bool_)
    for k, rows in enumerate(contexts):
        used[k, list(rows)] = True
    return np.where(used, spread, np.uint64(0)).astype(np.float64)


def _hash(multipliers: _Features, features: _Features) -> Hashes:
    """Hashes of K contexts for n pixels, uint64 [K, n].

    The matrix product is exact in any order of summation: 34 terms below 2^44 stay below 2^53.
    """
    return scramble((multipliers @ features).astype(np.uint64) + salts(len(multipliers))[:, None])
