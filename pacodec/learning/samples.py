"""What the network is asked about a frame: its attended pixels, what is known around each, and the answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pacodec.learning.clips import Background, CodeClip, Grid
from pacodec.predictors.blocks import in_blocks, over_blocks
from pacodec.predictors.network import EDGE, UNKNOWN, Geometry
from pacodec.predictors.passes import pass_of

Mask = NDArray[np.bool_]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Moment:
    """A frame and all that is known before it."""

    now: Grid
    past: tuple[Grid, ...]
    """The last grid, the one before and so on back, as many as there are windows into them."""
    background: Grid
    attended: Mask
    surprises: int
    """Blocks that change where nothing was expected to."""


def moment(clip: CodeClip, t: int, geometry: Geometry, start: int = 0, first: Grid | None = None) -> Moment:
    """Frame t as it is coded in a GOP that starts with frame `start` <= t, before which all grids are `first`.

    Without `first`, that is frame `start` itself, which then is not coded.
    """
    before = clip.grid(start) if first is None else first
    seen = len(geometry.radii) - 2
    grids = [clip.grid(k) if k >= start else before for k in range(t, t - max(seen, geometry.history + 1) - 1, -1)]
    recent = np.zeros(clip.shape, np.uint8)
    for later, earlier in pairwise(grids[1 : geometry.history + 2]):
        recent |= later != earlier
    side = 2 * geometry.dilation + 1
    attended: Mask = cv2.dilate(recent, np.ones((side, side), np.uint8)).astype(np.bool_)
    blocks = np.any(in_blocks(np.logical_and(grids[0] != grids[1], ~attended)), (1, 3))
    attended |= over_blocks(blocks, clip.shape)
    if start == 0 and first is None:
        background = clip.background(t)
    else:
        held = Background(before, geometry.hold)
        for k in range(start, t):
            held.push(clip.grid(k))
        background = held.codes
    return Moment(grids[0], tuple(grids[1 : 1 + seen]), background, attended, int(blocks.sum()))


@dataclass(frozen=True)
class Batch:
    """n pixels, what surrounds them and what they turn out to be."""

    windows: Tensor
    """Codes in the windows, int32 [n, positions]: rows of the embedding."""
    passes: Tensor
    """int64 [n], as the two below."""
    last: Tensor
    codes: Tensor
    weights: Tensor
    """How many pixels each stands for, float32 [n]."""

    def __len__(self) -> int:
        return len(self.codes)

    def to(self, device: torch.device) -> "Batch":
        """The same on a device."""
        return Batch(*(part.to(device) for part in self._parts()))

    def shuffled(self, order: Tensor) -> "Batch":
        """The same pixels in another order, int64 [n]."""
        return Batch(*(part[order] for part in self._parts()))

    def _parts(self) -> tuple[Tensor, ...]:
        return self.windows, self.passes, self.last, self.codes, self.weights


def positions(geometry: Geometry) -> int:
    """Codes that describe one pixel."""
    return geometry.inputs // geometry.embedding


@dataclass(frozen=True)
class Chosen:
    """Pixels of one frame that are asked about."""

    moment: Moment
    places: Places
    """y * w + x, int64 [n]."""
    weights: NDArray[np.float32]
    """How many pixels each stands for, [n]."""


def every(moment: Moment, step: int = 1) -> Chosen:
    """Each `step`-th of the attended pixels, that stand for themselves."""
    places = np.flatnonzero(moment.attended)[::step]
    return Chosen(moment, places, np.ones(len(places), np.float32))


def choose(moment: Moment, rng: np.random.Generator, thinning: int) -> Chosen:
    """The attended pixels near a change, and one of `thinning` of the others, which are easily foreseen."""
    places = np.flatnonzero(moment.attended)
    changed = (moment.now != moment.past[0]).astype(np.uint8)
    near = cv2.dilate(changed, np.ones((3, 3), np.uint8)).ravel()[places] > 0
    kept = near | (rng.random(len(places)) * thinning < 1)
    return Chosen(moment, places[kept], np.where(near, 1, thinning).astype(np.float32)[kept])


def sample(chosen: Sequence[Chosen], geometry: Geometry) -> Batch:
    """Those pixels as a batch."""
    n = sum(len(frame.places) for frame in chosen)
    windows = np.empty((n, positions(geometry)), np.int32)
    answers = np.empty((3, n), np.int64)
    at = 0
    for frame in chosen:
        rows = slice(at, at + len(frame.places))
        _fill(windows[rows], answers[:, rows], frame.moment, frame.places, geometry)
        at += len(frame.places)
    weights = np.concatenate([np.zeros(0, np.float32), *(frame.weights for frame in chosen)])
    return Batch(torch.from_numpy(windows), *map(torch.from_numpy, (*answers, weights)))


def _fill(windows: NDArray[np.int32], answers: NDArray[np.int64], frame: Moment, places: Places, g: Geometry) -> None:
    height, width = frame.now.shape
    passes = pass_of(height, width)
    answers[0] = passes.ravel()[places]
    answers[1] = frame.past[0].ravel()[places]
    answers[2] = frame.now.ravel()[places]
    border = max(g.radii)
    y, x = np.divmod(places, width)
    # One more than the pass of what is decoded in this frame; 0 for what is known before.
    turns = _bordered(np.where(frame.attended, passes + 1, 0), border, 0)
    at = 0
    for index, (plane, radius) in enumerate(zip((frame.now, *frame.past, frame.background), g.radii, strict=True)):
        steps = np.arange(-radius, radius + 1)
        around = (steps[:, None] * (width + 2 * border) + steps).ravel()
        inside = ((y + border) * (width + 2 * border) + x + border)[:, None] + around
        part = windows[:, at : at + len(around)]
        part[...] = _bordered(plane, border, EDGE).ravel()[inside]
        if index == 0:
            part[turns.ravel()[inside] > answers[0][:, None]] = UNKNOWN
        at += len(around)


def _bordered(plane: NDArray[np.uint8], border: int, value: int) -> NDArray[np.int32]:
    wide = np.full((plane.shape[0] + 2 * border, plane.shape[1] + 2 * border), value, np.int32)
    wide[border:-border, border:-border] = plane
    return wide
