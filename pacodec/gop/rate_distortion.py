"""How much quality is given for size, and the codes that suit it: of all sequences that a pixel may take, the cheapest.

An error costs what it is worth, a change costs a fixed price, and a whole sequence of frames is decided at once
(Viterbi 1967): noise is not worth a change, and a code that stays is the one that suits all the frames in which it
does. What a change really costs the engine knows, and chooses once more when it codes each frame: for as long as the
code is meant to stay.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pacodec.common.media import Grids
from pacodec.engine import COST_UNIT, SPAN_BEGINS, Costs, Spans


@dataclass(frozen=True)
class RateDistortion:
    """The exchange of rate for distortion when codes are chosen."""

    error_of_bit: float
    """Squared error (of 8-bit levels, summed over R, G, B) that is worth one bit."""
    change: float
    """Bits that a change of code is held to cost when all frames are looked at at once."""

    def bits(self, errors: NDArray[np.float64]) -> NDArray[np.float64]:
        """The bits that squared errors are worth."""
        return errors / self.error_of_bit

    def costs(self, errors: NDArray[np.float64]) -> Costs:
        """What code j costs the engine in one frame where i was meant, of the squared errors, float64 [256, 256]."""
        costs: Costs = np.minimum(self.bits(errors) * COST_UNIT, np.iinfo(np.uint16).max).astype(np.uint16)
        return costs

    def choose(self, codes: Grids, errors: NDArray[np.float64], before: Grids | None = None) -> tuple[Grids, Spans]:
        """What to have the engine code instead of codes, uint8 [T, 1, h, w], and for how long each is meant.

        `errors`: squared errors, float64 [256, 256]; `before`: the codes of the frame before, if there is one.
        """
        steady = steady_codes(codes, self.bits(errors), self.change, before)
        return steady, spans(steady, before)


_ERRORS = {1: 33.0, 2: 14.0, 3: 5.5, 4: 3.5, 5: 2.1}
"""Squared error that is worth a bit, by quality, in squares of the levels held for noise. Clean footage has no such
exchange: there, whatever was not meant is foreseen worse, and took more bits at any price (web clips: 2.85 kbit/s at
64 dB, 3.8 at 58, 5.4 at 38)."""
_CHANGE = 1.0
"""Bits. What the engine does not foresee costs more, which it sees by itself; at ten times as much, small things that
move vanished, and half as many bits again were needed for as good a picture."""


def noisy(levels: int) -> dict[int, RateDistortion]:
    """By quality, for footage whose noise moves pixels by so many levels."""
    return {quality: RateDistortion(errors * levels**2, _CHANGE) for quality, errors in _ERRORS.items()}


def candidates(exchange: RateDistortion | None, effort: int) -> list[RateDistortion | None]:
    """What a GOP is tried with at an effort of 1 (fast) to 3; the best is kept."""
    if exchange is None or effort < 3:
        return [exchange]
    return [exchange, *(replace(exchange, change=exchange.change * times) for times in (0.5, 2))]


_NUMBERS = 1 << 16
"""Costs that are worked on at a time: what fits into a cache."""
MOST_FRAMES = 512
"""Frames that are worth looking at at once; memory grows with them."""


def steady_codes(codes: Grids, costs: NDArray[np.float64], change: float, before: Grids | None = None) -> Grids:
    """What to code instead of codes, uint8 [T, 1, h, w].

    `costs`: bits that code j costs where i was meant, float64 [256, 256]; `change`: bits that each change costs;
    `before`: the codes of the frame before, uint8 [1, h, w], if there is one.
    """
    frames = len(codes)
    wanted = codes.reshape(frames, -1)
    steady = wanted.copy()
    last = wanted[0] if before is None else before.ravel()
    restless = np.flatnonzero((wanted != last).any(0))
    colours = np.flatnonzero(np.isfinite(costs).sum(0) > 1)
    # A code that can stand for no other, and no other for it, is left as it is.
    known = np.isin(wanted[:, restless], colours).all(0) & np.isin(last[restless], colours)
    restless = restless[known]
    prices = costs[:, colours].astype(np.float32)
    number_of = np.zeros(256, np.intp)
    number_of[colours] = np.arange(len(colours))
    step = max(1, _NUMBERS // max(1, len(colours)))
    for at in range(0, len(restless), step):
        places = restless[at : at + step]
        first = None if before is None else number_of[last[places]]
        steady[:, places] = colours[_cheapest(wanted[:, places], prices, change, first)]
    return steady.reshape(codes.shape)


def spans(codes: Grids, before: Grids | None = None) -> Spans:
    """For how many of the frames each of the codes, uint8 [T, 1, h, w], stays; as the engine takes it, [T, h, w].

    `before`: the codes of the frame before, uint8 [1, h, w], if there is one.
    """
    frames = codes[:, 0]
    found = np.ones(frames.shape, np.uint16)
    for t in range(len(frames) - 2, -1, -1):
        found[t] += found[t + 1] * (frames[t] == frames[t + 1])
    begins = np.ones(frames.shape, np.bool_)
    begins[1:] = frames[1:] != frames[:-1]
    if before is not None:
        begins[0] = frames[0] != before[0]
    return found | begins * np.uint16(SPAN_BEGINS)


def _cheapest(
    wanted: NDArray[np.uint8], prices: NDArray[np.float32], change: float, first: NDArray[np.intp] | None
) -> NDArray[np.intp]:
    """Numbers of the colours, [T, n], of the cheapest sequence of each pixel; `wanted`: codes [T, n]."""
    frames, pixels = wanted.shape
    rows = np.arange(pixels)
    jumps = np.zeros((frames, pixels, prices.shape[1]), np.bool_)  # whether it pays to come from elsewhere
    origin = np.zeros((frames, pixels), np.intp)
    total = np.zeros((pixels, prices.shape[1]), np.float32)
    if first is not None:
        total += np.float32(change)
        total[rows, first] = 0
    total += prices[wanted[0]]
    for t in range(1, frames):
        origin[t] = total.argmin(1)
        jump = total[rows, origin[t], None] + np.float32(change)
        np.greater(total, jump, out=jumps[t])
        np.minimum(total, jump, out=total)
        total += prices[wanted[t]]
    path = np.empty((frames, pixels), np.intp)
    path[-1] = total.argmin(1)
    for t in range(frames - 1, 0, -1):
        path[t - 1] = np.where(jumps[t, rows, path[t]], origin[t], path[t])
    return path
