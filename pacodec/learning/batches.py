"""Which pixels of which frames are learned from at each step, and which are looked at to judge."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pacodec.learning.clips import CodeClip, Grid
from pacodec.learning.samples import Batch, Chosen, Moment, choose, every, moment, sample
from pacodec.predictors.network import Geometry

FRAMES = 10
"""Frames of a batch."""
THINNING = 4
"""Of the pixels with no change near them, one in so many is learned from, for all of them: what is sure costs time."""
MAX_PIXELS = 12_000
"""Pixels of a batch; of more, some are taken by chance."""
KEYFRAMES = 0.03
"""Share of frames that are learned as the first of a GOP, where a known screen is all of the past."""
EARLY = 0.06
"""Share of frames that are learned as one of the `EARLY_FRAMES` after a keyframe: their past begins with it."""
EARLY_FRAMES = 24


class Sampler:
    """Batches of training pixels; a pure function of (seed, step), so a resumed run sees what an unbroken one would."""

    def __init__(self, clips: Sequence[CodeClip], screens: Sequence[Grid], geometry: Geometry, seed: int) -> None:
        """`screens`: grids that a keyframe may be predicted from, empty where that is not to be learned."""
        self._clips, self._screens, self._geometry, self._seed = clips, screens, geometry, seed
        lengths = np.array([len(clip) for clip in clips])
        self._shares = lengths / lengths.sum()

    def batch(self, step: int) -> Batch:
        """At most `MAX_PIXELS` attended pixels of `FRAMES` frames in random order; none where nothing happens."""
        rng = np.random.default_rng((self._seed, step))
        chosen = [choose(self._one(rng), rng, THINNING) for _ in range(FRAMES)]
        share = min(1.0, MAX_PIXELS / max(1, sum(len(frame.places) for frame in chosen)))
        batch = sample([_some(frame, share, rng) for frame in chosen], self._geometry)
        return batch.shuffled(torch.from_numpy(rng.permutation(len(batch))))

    def _one(self, rng: np.random.Generator) -> Moment:
        clip = self._clips[int(rng.choice(len(self._clips), p=self._shares))]
        t, kind = int(rng.integers(len(clip))), rng.random()
        start = t - int(rng.integers(1, EARLY_FRAMES + 1))
        if self._screens and (kind < KEYFRAMES or (kind < KEYFRAMES + EARLY and start >= 0)):
            start = t if kind < KEYFRAMES else start
            return moment(clip, t, self._geometry, start, nearest(clip.grid(start), self._screens))
        return moment(clip, t, self._geometry)


def _some(chosen: Chosen, share: float, rng: np.random.Generator) -> Chosen:
    taken = rng.permutation(len(chosen.places))[: int(np.ceil(len(chosen.places) * share))]
    return Chosen(chosen.moment, chosen.places[taken], chosen.weights[taken])


def nearest(grid: Grid, screens: Sequence[Grid]) -> Grid:
    """The screen that differs from the grid in the fewest pixels."""
    return min(screens, key=lambda screen: np.count_nonzero(screen != grid))


@dataclass(frozen=True)
class Probe:
    """Pixels of frames spread over some clips, to measure a predictor on."""

    batches: list[Batch]
    frames: int
    scale: float
    """Attended pixels for each of those in the batches."""
    surprises: float
    """Surprise blocks a frame."""


def probe(clips: Sequence[CodeClip], geometry: Geometry, frames: int, pixels: int) -> Probe:
    """About `frames` frames evenly spread, of whose attended pixels about `pixels` are kept, evenly spread too."""
    stride = max(1, sum(map(len, clips)) // frames)
    # The first frame of a clip has no past to be foreseen from.
    chosen = [(clip, t) for clip in clips for t in range(min(1 + stride // 2, len(clip) - 1), len(clip), stride)]
    moments = [moment(clip, t, geometry) for clip, t in chosen]
    attended = sum(int(np.count_nonzero(frame.attended)) for frame in moments)
    # An odd step, and none that the lattice of the passes divides, takes pixels of every pass.
    step = -(-attended // pixels) | 1
    batches = [sample([every(frame, step)], geometry) for frame in moments if frame.attended.any()]
    kept = sum(map(len, batches))
    surprises = sum(frame.surprises for frame in moments) / max(1, len(moments))
    return Probe(batches, len(moments), attended / max(1, kept), surprises)
