"""How much quality is given for size, by quality step."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

EFFORTS = (1, 2, 3)
DEFAULT_EFFORT = 2


@dataclass(frozen=True)
class Thrift:
    """What a smaller file is worth."""

    rate_weight: float
    """Squared error (of 8-bit levels, summed over R, G, B) that is worth one nat."""
    deviation: float
    """nats that a wrong code costs beyond its error: what follows is foreseen worse, and it may need putting right."""
    change: float = 0.0
    """nats that a change of code is held to cost when all frames are looked at at once; 0 looks at one at a time."""

    def errors(self, errors: NDArray[np.float64]) -> NDArray[np.float64]:
        """nats that squared errors are worth."""
        return errors / self.rate_weight

    def costs(self, errors: NDArray[np.float64]) -> NDArray[np.float64]:
        """nats that code j costs where i was meant, of the squared errors, float64 [256, 256]."""
        return self.errors(errors) + self.deviation * ~np.eye(len(errors), dtype=np.bool_)


CLEAN_THRIFTS = {1: Thrift(40_000, 8), 2: Thrift(10_000, 8), 3: Thrift(10_000, 16)}
"""Of a predictive model's lower qualities. The palette is the same for all."""
_NOISY = {1: 3.0, 2: 2.0, 3: 1.0, 4: 0.4, 5: 0.2}
"""The same for a model of noisy footage: weights in squares of the levels that it holds for noise. At 4, small things
that move were no longer worth their bits and vanished; under 0.2 noise would be spelled out, which nothing foresees."""
_NOISY_DEVIATION = 1.5
"""The more a deviation costs, the less the codes that all frames together made worth it are chosen anew for each."""
_NOISY_CHANGE = 20.0


def noisy_thrifts(levels: int) -> dict[int, Thrift]:
    """By quality, for footage whose noise moves pixels by so many levels."""
    return {q: Thrift(weight * levels**2, _NOISY_DEVIATION, _NOISY_CHANGE) for q, weight in _NOISY.items()}


def candidates(thrift: Thrift | None, effort: int) -> list[Thrift | None]:
    """What a GOP is tried with at an effort of 1 (fast) to 3; the best is kept."""
    if thrift is None:
        return [None]
    if effort == 1:
        return [replace(thrift, change=0.0)]
    if effort == 2:
        return [thrift]
    if thrift.change:
        return [thrift, *(replace(thrift, change=thrift.change * times) for times in (0.5, 2))]
    return [thrift, *(replace(thrift, deviation=thrift.deviation * times) for times in (0.5, 2))]
