"""Known screens: whole grids stored in the model, one of which a keyframe is predicted from."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pacodec.learning.clips import CodeClip

MAX_SCREENS = 16
CANDIDATES = 96
LEAST_GAIN = 0.05
"""Share of the pixels left to code that one more screen must save."""


def choose_screens(clips: Sequence[CodeClip]) -> NDArray[np.uint8]:
    """uint8 [S, h, w], S <= `MAX_SCREENS`: backgrounds of the clips that are near most others.

    Greedy k-medoids on the number of pixels that differ. None where the clips are not of one size.
    """
    if len({clip.shape for clip in clips}) != 1:
        return np.empty((0, 0, 0), np.uint8)
    total = sum(map(len, clips))
    stride = max(1, total // CANDIDATES)
    candidates = np.stack(
        [clip.background(t) for clip in clips for t in range(min(stride, len(clip)) // 2, len(clip), stride)]
    )
    apart = np.array([[np.count_nonzero(one != other) for other in candidates] for one in candidates])
    chosen = [int(apart.sum(1).argmin())]
    left = apart[chosen[0]]
    while len(chosen) < MAX_SCREENS:
        best = int(np.minimum(apart, left).sum(1).argmin())
        now = np.minimum(apart[best], left)
        if now.sum() > left.sum() * (1 - LEAST_GAIN) or left.sum() == 0:
            break
        chosen.append(best)
        left = now
    return candidates[chosen]
