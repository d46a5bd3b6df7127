"""Rate-distortion choice of codes: an encoder may code another code than meant where that saves more than it costs.

Entropy-constrained quantization in closed loop (Chou, Lookabaugh, Gray 1989): the code that minimizes distortion plus
rate, the rate being what the predictor itself expects, given a past of codes that were chosen so. Decoders need not
know, so all of this is floating point.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pacodec.entropy import Bits, Integers
from pacodec.predictors.blocks import in_blocks, over_blocks
from pacodec.predictors.logistic import UNIT
from pacodec.predictors.past import Codes

_SURPRISE_COST = 6.0
"""nats that it takes to say that a block which stood still changes."""
_CHANGE_COST = 3.0
"""nats that each changed pixel of such a block takes, about."""


class Choice:
    """What it costs to code j where i was meant."""

    def __init__(self, costs: NDArray[np.float64]) -> None:
        """`costs`: nats, float64 [256, 256] with a zero diagonal."""
        self._costs = costs
        self._deviation = float(costs[~np.eye(len(costs), dtype=np.bool_)].min())

    def burden(self, wanted: Codes, other: Codes) -> NDArray[np.float64]:
        """nats that starting from other codes costs, about, float64 of the shape of both."""
        return np.minimum(self._costs[wanted, other], _SURPRISE_COST)

    def matters(self, wanted: Codes, other: Codes) -> Bits:
        """Where another code would be put right, bool, of the shape of both: what any deviation costs does not count,
        or noise would make all pictures different.
        """
        worth: Bits = self._costs[wanted, other] > _CHANGE_COST + self._deviation
        return worth

    def worth_a_change(self, wanted: Codes, last: Codes) -> Bits:
        """Where a grid that stands still must change, bool [h, w]: blocks with little to gain are left as they are."""
        changed = wanted != last
        gain = np.where(changed, self._costs[wanted, last] - _CHANGE_COST, 0.0)
        worth = in_blocks(gain).sum((1, 3)) > _SURPRISE_COST
        kept: Bits = changed & over_blocks(worth, gain.shape)
        return kept

    def of_pixels(self, wanted: Codes, last: Codes, gate: Integers, logits: Callable[[Integers], Integers]) -> Codes:
        """What to code for n pixels, uint8 [n].

        `gate`: log-odds (1/256) that a pixel keeps its last code; `logits(chosen)`: log-weights (1/256) of each code
        for the pixels of these numbers, given that it changes, int64 [m, 256].
        """
        codes = wanted.copy()
        asked = np.flatnonzero((wanted != last) | (gate < 0))
        if not len(asked):
            return codes
        odds = gate[asked] / UNIT
        weights = logits(asked) / UNIT
        rows = np.arange(len(asked))
        weights[rows, last[asked]] = -np.inf
        weights -= np.logaddexp.reduce(weights, 1, keepdims=True)
        total = self._costs[wanted[asked]] - weights + np.logaddexp(0, odds)[:, None]
        total[rows, last[asked]] = self._costs[wanted[asked], last[asked]] + np.logaddexp(0, -odds)
        codes[asked] = total.argmin(1)
        return codes
