"""How much quality is given for size, by quality step."""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pacodec.engine import Costs

_UNITS = 256
"""Units of a bit in the engine's costs."""
_NAT = 1 / math.log(2)
"""Bits of a nat, in which the constants below were found."""


@dataclass(frozen=True)
class RateDistortion:
    """The exchange of rate for distortion when codes are chosen."""

    error_of_bit: float
    """Squared error (of 8-bit levels, summed over R, G, B) that is worth one bit."""
    deviation: float
    """Bits that a wrong code costs beyond its error: what follows is foreseen worse, and it may need putting right."""
    change: float = 0.0
    """Bits that a change of code is held to cost when all frames are looked at at once; 0 looks at one at a time."""

    def bits(self, errors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Bits that squared errors are worth."""
        return errors / self.error_of_bit

    def costs(self, errors: NDArray[np.float64]) -> Costs | None:
        """What code j costs the engine where i was meant, of the squared errors, float64 [256, 256].

        None where the codes of all frames are decided at once: choosing once more for each frame, by what that frame
        saves, took 7 dB for a fifth of the bits (demo clips at quality 3).
        """
        if self.change:
            return None
        bits = self.bits(errors) + self.deviation * ~np.eye(len(errors), dtype=np.bool_)
        costs: Costs = np.minimum(bits * _UNITS, np.iinfo(np.uint16).max).astype(np.uint16)
        return costs


def _in_nats(error_of_nat: float, deviation: float, change: float = 0.0) -> RateDistortion:
    return RateDistortion(error_of_nat / _NAT, deviation * _NAT, change * _NAT)


CLEAN = {1: _in_nats(40_000, 8), 2: _in_nats(10_000, 8), 3: _in_nats(10_000, 16)}
"""Of the lower qualities of clean footage, by quality. The palette is the same for all."""
_NOISY = {1: 3.0, 2: 2.0, 3: 1.0, 4: 0.4, 5: 0.2}
"""The same for noisy footage: weights in squares of the levels held for noise. At 4, small things that move were no
longer worth their bits and vanished; under 0.2 noise would be spelled out, which nothing foresees."""
_NOISY_CHANGE = 20.0


def noisy(levels: int) -> dict[int, RateDistortion]:
    """By quality, for footage whose noise moves pixels by so many levels."""
    return {q: _in_nats(weight * levels**2, 0.0, _NOISY_CHANGE) for q, weight in _NOISY.items()}


def candidates(exchange: RateDistortion | None, effort: int) -> list[RateDistortion | None]:
    """What a GOP is tried with at an effort of 1 (fast) to 3; the best is kept."""
    if exchange is None or effort < 3:
        return [exchange]
    if exchange.change:
        return [exchange, *(replace(exchange, change=exchange.change * times) for times in (0.5, 2))]
    return [exchange, *(replace(exchange, deviation=exchange.deviation * times) for times in (0.5, 2))]
