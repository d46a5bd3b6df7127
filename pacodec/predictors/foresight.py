"""Codes of one channel as a trained network foresees them, corrected by what was seen in the GOP at hand.

A grid is coded in passes over its attended pixels. A pixel is a chain of decisions: same code as in the last grid? Else
the code that the network expects most? Else the one that followed these surroundings before? Else the code itself, by
the network's weights. Counts in contexts are mixed into the network's log-odds wherever those leave a doubt.
"""

from collections.abc import Callable

import numpy as np

from pacodec.entropy import ONE, Bits, Integers, SymbolCoder, normalize
from pacodec.integer_layer import Reals
from pacodec.predictors.attention import Attention
from pacodec.predictors.choice import Choice
from pacodec.predictors.hashing import Hashes, salts, scramble, write_last
from pacodec.predictors.logistic import STRETCH, UNIT, exp, squash
from pacodec.predictors.mixer import MAX_BATCH, Mixer
from pacodec.predictors.network import Geometry, IntegerNetwork
from pacodec.predictors.passes import PASSES, SPACING, pass_of
from pacodec.predictors.past import Codes, Past
from pacodec.predictors.tally import STATES, TREND, TRENDS, Tally, rounds

_CERTAIN = 7 * UNIT
"""Log-odds from which the network is believed without asking the counts."""
_AHEAD = 1 << 21
"""Numbers of the first layer up to which what the past says is computed for all passes at once; beyond, a batch at a
time."""
_WINDOWS = 1 << 21
"""Inputs of the network that are gathered at once."""
_TABLE_BITS = 20
_PROPOSAL_BITS = 18
_FREQUENCY_BITS = 20
_BUCKETS = 16
"""Steps of certainty that have mixing weights of their own."""
_STEP = 2 * _CERTAIN // _BUCKETS
_LEAST = 1 << 8
"""Of 2^EXP_BITS, the weight of the least expected code."""


class Foresight:
    """Codes the grids of one GOP after the first, one channel. Encoder and decoder run the same object."""

    def __init__(self, network: IntegerNetwork, first: Codes) -> None:
        """`first`: the grid that all of the past is at first, uint8 [h, w], known to both sides."""
        self._network = network
        geometry = network.geometry
        self._past = Past(geometry, network.embedding, first)
        self._attention = Attention(first.shape, geometry.dilation)
        self._pass_of = pass_of(first.shape[0], first.shape[1]).ravel()
        self._tally = Tally(first.shape)
        self._same = Mixer(6, PASSES * _BUCKETS * TRENDS, _TABLE_BITS, prior=True)
        self._expected = Mixer(3, PASSES * _BUCKETS, _TABLE_BITS, prior=True)
        self._proposed = Mixer(3, PASSES * _BUCKETS, _TABLE_BITS, prior=True)
        self._successors = np.zeros(1 << _PROPOSAL_BITS, np.uint8)
        self._salts = salts(32)

    @staticmethod
    def memory(geometry: Geometry, height: int, width: int) -> int:
        """Bytes that coding grids of this size takes, about; LimitError where the model sees too much of them."""
        tables = 3 * (4 << _TABLE_BITS) + 4 * (_WINDOWS + _AHEAD) + Tally.memory(height, width)
        return Past.check_size(geometry, height, width) + tables + 24 * height * width

    def code(self, coder: SymbolCoder, truth: Codes | None, choice: Choice | None = None) -> Codes:
        """The next grid, uint8 [h, w]; `truth` is the same, or None when decoding.

        With a `choice`, an encoder's matter, the grid may differ from `truth` where that saves more than it costs.
        """
        past = self._past
        changed: Bits | None = None
        if truth is not None:
            changed = truth != past.codes if choice is None else choice.worth_a_change(truth, past.codes)
        geometry = self._network.geometry
        recent = past.changed_within(geometry.history)
        places = np.flatnonzero(self._attention.code(coder, recent, changed))
        past.begin(places)
        order = self._pass_of[places]
        ahead = self._products_of_past(places) if len(places) * geometry.hidden <= _AHEAD else None
        for turn in range(PASSES):
            mine = np.flatnonzero(order == turn)
            for at in range(0, len(mine), MAX_BATCH):
                numbers = mine[at : at + MAX_BATCH]
                batch = places[numbers]
                products = self._products_of_past(batch) if ahead is None else ahead[numbers]
                products += self._products(past.windows_now, batch, slice(0, geometry.inputs_now))
                hidden = self._network.hidden(products, turn)
                wanted = None if truth is None else truth.reshape(-1)[batch]
                codes = self._code_pixels(coder, turn, batch, hidden, wanted, choice)
                past.fill(batch, codes)
        past.finish()
        return past.codes.copy()

    def _products_of_past(self, places: Integers) -> Reals:
        geometry = self._network.geometry
        return self._products(self._past.windows_past, places, slice(geometry.inputs_now, geometry.inputs))

    def _products(self, windows: Callable[[Integers], Reals], places: Integers, inputs: slice) -> Reals:
        """What some of the inputs add to the first layer at n places, float32 [n, hidden]."""
        step = max(1, _WINDOWS // (inputs.stop - inputs.start))
        parts = [
            self._network.products(windows(places[at : at + step]), inputs.start)
            for at in range(0, max(len(places), 1), step)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _code_pixels(
        self,
        coder: SymbolCoder,
        turn: int,
        places: Integers,
        hidden: Reals,
        truth: Codes | None,
        choice: Choice | None,
    ) -> Codes:
        gate = self._network.gate(hidden)
        codes = self._past.last.reshape(-1)[places]
        if truth is not None and choice is not None:
            truth = choice.of_pixels(truth, codes, gate, lambda chosen: self._network.codes(hidden[chosen]))
        known = None if truth is None else truth == codes
        same = np.empty(len(places), np.bool_)
        certain = gate >= _CERTAIN
        same[certain] = coder.bits(squash(gate[certain]), None if known is None else known[certain])
        doubtful = np.flatnonzero(~certain)
        for numbers in rounds(places[doubtful], self._past.codes.shape[1], SPACING[turn]):
            part = doubtful[numbers]
            rest = None if known is None else known[part]
            same[part] = self._code_doubtful(coder, turn, places[part], gate[part], rest)
        self._tally.clear()
        left = np.flatnonzero(~same)
        if len(left):
            logits = self._network.codes(hidden[left])
            codes[left] = self._code_changes(coder, turn, places[left], logits, None if truth is None else truth[left])
        return codes

    def _code_doubtful(
        self, coder: SymbolCoder, turn: int, places: Integers, gate: Integers, truth: Bits | None
    ) -> Bits:
        """Whether n pixels keep the last grid's code, bool [n]."""
        around = self._past.surroundings(places)
        bucket = _certainty(gate)
        last = around[0].astype(np.uint64)
        row, column = self._tally.states(places, around[0])
        lines = (row * STATES + column) * PASSES + turn
        contexts = np.stack(
            [
                self._hash(around, turn),
                self._hash(around[:6], turn + bucket * PASSES),
                (last << np.uint64(32)) + places.astype(np.uint64),
                (bucket * PASSES + turn).astype(np.uint64),
                (lines * _BUCKETS + bucket).astype(np.uint64),
                (lines * 256 + around[0]).astype(np.uint64),
            ]
        )
        contexts = scramble(contexts * self._salts[: len(contexts), None])
        chosen = (turn * _BUCKETS + bucket) * TRENDS + TREND[row]
        same = self._same.code(coder, contexts, chosen, truth, gate)
        self._tally.add(places, around[0], same)
        return same

    def _code_changes(
        self, coder: SymbolCoder, turn: int, places: Integers, logits: Integers, truth: Codes | None
    ) -> Codes:
        """Codes of n pixels that differ from the last grid's, uint8 [n]; `logits`: int64 [n, 256]."""
        rows = np.arange(len(places))
        around = self._past.surroundings(places)
        weights = exp(logits - logits.max(1, keepdims=True))
        np.maximum(weights, _LEAST, out=weights)
        weights[rows, around[0]] = 0
        surroundings = self._hash(around, turn)
        slots = (scramble(surroundings) >> np.uint64(64 - _PROPOSAL_BITS)).astype(np.int64)
        codes = np.zeros(len(places), np.uint8)
        found = np.zeros(len(places), np.bool_)
        left = rows
        for candidate, mixer in ((weights.argmax(1), self._expected), (self._successors[slots], self._proposed)):
            asked = left[weights[left, candidate[left]] > 0]
            if len(asked):
                code = candidate[asked]
                weight = weights[asked, code]
                prior = STRETCH[np.clip(weight * ONE // weights[asked].sum(1), 1, ONE - 1)].astype(np.int64)
                bucket = _certainty(prior)
                contexts = np.stack(
                    [
                        surroundings[asked] + self._salts[code % 32] + code.astype(np.uint64),
                        self._hash(around[:6, asked], turn) + code.astype(np.uint64),
                        (bucket * PASSES + turn).astype(np.uint64),
                    ]
                )
                contexts = scramble(contexts * self._salts[:3, None])
                chosen = turn * _BUCKETS + bucket
                hit = mixer.code(coder, contexts, chosen, None if truth is None else truth[asked] == code, prior)
                codes[asked[hit]] = code[hit]
                weights[asked, code] = 0
                found[asked[hit]] = True
                left = rows[~found]
        if len(left):
            frequencies = normalize(weights[left], _FREQUENCY_BITS)
            codes[left] = coder.choices(frequencies, None if truth is None else truth[left].astype(np.int32))
        write_last(self._successors, slots, codes)
        return codes

    def _hash(self, around: Codes, more: Integers | int) -> Hashes:
        """Of k codes of each of n pixels, uint8 [k, n], and one more integer."""
        hashes = (around.astype(np.uint64) * self._salts[: len(around), None]).sum(0)
        return scramble(hashes + np.asarray(more).astype(np.uint64))


def _certainty(logits: Integers) -> Integers:
    """Log-odds in `_BUCKETS` steps."""
    return np.clip(logits // _STEP + _BUCKETS // 2, 0, _BUCKETS - 1)
