"""Adaptive binary prediction: counts in hashed contexts, mixed in the logistic domain (the PAQ family), in integers.

A whole batch of decisions is predicted, coded, and only then learned from, so a batch costs a fixed number of numpy
calls. Every update is a sum over the batch, or writes equal values to equal places: no result depends on an order of
execution.
"""

import numpy as np
from numpy.typing import NDArray

from pacodec.entropy import ONE, Bits, Integers, SymbolCoder
from pacodec.predictors.hashing import Hashes
from pacodec.predictors.logistic import STRETCH, UNIT, squash

MAX_BATCH = 4096
"""Decisions of one call: what keeps every count below 2^15 and every gradient sum below 2^53."""

_COUNT_BITS = 16
_COUNT_MASK = (1 << _COUNT_BITS) - 1
_COUNT_LIMIT = 127
"""A context that has seen more decisions than this forgets half: statistics drift."""
_WEIGHT_BITS = 16
_INITIAL_WEIGHT = int(0.3 * (1 << _WEIGHT_BITS))
_WEIGHT_BESIDE_PRIOR = int(0.15 * (1 << _WEIGHT_BITS))
_MAX_WEIGHT = 1 << 22
_RATE = 10
_RATE_BITS = 18
_FULL_STEP = 32
"""Decisions of one weight set in a batch whose gradients add up; beyond, they are averaged, or the step overshoots."""


def _confidence_table() -> NDArray[np.int32]:
    """Log-odds of a context that saw `ones` Trues of `n` decisions (0.4 imagined of each), int32 [256 * n + ones]."""
    n, ones = np.mgrid[0:256, 0:256]
    probability = (ONE * (10 * ones + 4)) // (10 * n + 8)
    table: NDArray[np.int32] = STRETCH[np.clip(probability, 16, ONE - 16)].ravel()
    return table


_CONFIDENCE = _confidence_table()


class Mixer:
    """Predicts decisions from K contexts each, with one of `sets` sets of mixing weights.

    A table slot packs its number of Trues (upper 16 bits) and of decisions (lower 16 bits).
    """

    def __init__(self, contexts: int, sets: int, table_bits: int, *, prior: bool = False) -> None:
        """`prior`: whether each decision also comes with log-odds from elsewhere, which are believed at first."""
        self._slots = np.zeros(1 << table_bits, np.int32)
        self._mask = np.uint64((1 << table_bits) - 1)
        self._weights = np.full((contexts + 1 + prior, sets), _INITIAL_WEIGHT, np.int64)
        self._weights[contexts] = 0  # of the constant input
        if prior:
            self._weights[:contexts] = _WEIGHT_BESIDE_PRIOR
            self._weights[-1] = 1 << _WEIGHT_BITS

    def code(
        self,
        coder: SymbolCoder,
        contexts: Hashes,
        chosen: Integers,
        truth: Bits | None,
        prior: Integers | None = None,
    ) -> Bits:
        """Code n decisions (at most `MAX_BATCH`), bool [n], and learn from them.

        contexts: uint64 [K, n], hashes of which the lower bits count; chosen: int64 [n], the weight set of each
        decision; truth: bool [n] when encoding, None when decoding; prior: log-odds, int64 [n], as was announced.
        """
        assert contexts.shape[1] <= MAX_BATCH
        slots = (contexts & self._mask).view(np.int64)
        packed = self._slots[slots]
        inputs = np.empty((len(self._weights), contexts.shape[1]), np.int64)
        inputs[: len(contexts)] = _CONFIDENCE[((packed & _COUNT_MASK) << 8) + (packed >> _COUNT_BITS)]
        inputs[len(contexts)] = UNIT
        if prior is not None:
            inputs[-1] = prior
        ones = squash((inputs * self._weights[:, chosen]).sum(0) >> _WEIGHT_BITS)
        bits = coder.bits(ones, truth)
        self._learn_weights(inputs, chosen, (bits.astype(np.int64) << 16) - ones)
        self._learn_counts(slots, bits)
        return bits

    def _learn_weights(self, inputs: Integers, chosen: Integers, errors: Integers) -> None:
        sets = self._weights.shape[1]
        used = np.maximum(np.bincount(chosen, minlength=sets) // _FULL_STEP, 1)
        places = np.arange(0, self._weights.size, sets)[:, None] + chosen
        # bincount sums in float64, which is exact here: 24 + 16 + 12 bits (log-odds from elsewhere can be large).
        steps = np.bincount(places.ravel(), (inputs * errors).ravel(), self._weights.size).astype(np.int64)
        self._weights += (steps.reshape(-1, sets) * _RATE >> _RATE_BITS) // used
        np.minimum(self._weights, _MAX_WEIGHT, out=self._weights)
        np.maximum(self._weights, -_MAX_WEIGHT, out=self._weights)

    def _learn_counts(self, slots: Integers, bits: Bits) -> None:
        seen = np.where(bits, (1 << _COUNT_BITS) + 1, 1).astype(np.int32)
        flat = slots.ravel()
        np.add.at(self._slots, flat, np.broadcast_to(seen, slots.shape).ravel())
        # A surprise tells that the old statistics are stale: the other side's count is cut.
        for side, surprised in ((1, slots[:, bits].ravel()), (0, slots[:, ~bits].ravel())):
            self._cut(surprised, side)
        packed = self._slots[flat]
        over = flat[(packed & _COUNT_MASK) > _COUNT_LIMIT]
        if len(over):
            packed = self._slots[over]
            ones, n = packed >> _COUNT_BITS, packed & _COUNT_MASK
            divisor = 2 * (n // _COUNT_LIMIT)
            ones, zeros = ones // divisor, (n - ones) // divisor
            self._slots[over] = (ones << _COUNT_BITS) + ones + zeros

    def _cut(self, slots: Integers, happened: int) -> None:
        packed = self._slots[slots]
        ones = packed >> _COUNT_BITS
        zeros = (packed & _COUNT_MASK) - ones
        if happened:
            zeros = np.where(zeros > 2, (zeros >> 1) + 1, zeros)
        else:
            ones = np.where(ones > 2, (ones >> 1) + 1, ones)
        self._slots[slots] = (ones << _COUNT_BITS) + ones + zeros
