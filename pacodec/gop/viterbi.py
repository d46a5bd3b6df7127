"""Codes that stay: of all sequences of codes that a pixel could take, the one that costs least (Viterbi 1967).

An error costs what it is worth, a change costs a fixed price, and a whole sequence of frames is decided at once
(Viterbi 1967): noise is not worth a change, and a code that stays is the one that suits all the frames in which it
does. What a change really costs the engine knows, and chooses once more when it codes each frame.
"""

import numpy as np
from numpy.typing import NDArray

from pacodec.common.grids import Grids

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
