"""What the learned predictor sees: the grid being coded, those before it and the background, as embedded codes.

Everything here changes only where codes change; the rest of a frame costs one copy of its memory.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from pacodec import limits
from pacodec.entropy import Integers
from pacodec.integer_layer import Reals
from pacodec.predictors.network import EDGE, UNKNOWN, Geometry

Codes = NDArray[np.uint8]
_Plane = NDArray[np.int8]
"""Embedded codes with a border, int8 [h + 2r, w + 2r, E]."""

_RING_Y = np.array([-1, 1, 0, 0, -1, -1, 1, 1])[:, None]
_RING_X = np.array([0, 0, -1, 1, -1, 1, -1, 1])[:, None]


class Past:
    """The grids of one channel around the one being coded, of which `now` shows what is decoded so far."""

    def __init__(self, geometry: Geometry, embedding: NDArray[np.int8], first: Codes) -> None:
        """`embedding`: int8 [258, E]; `first`: the grid that all of the past is at first, uint8 [h, w]."""
        self.check_size(geometry, *first.shape)
        self._geometry, self._embedding = geometry, embedding
        self._radius = r = max(geometry.radii)
        self._height, self._width = first.shape
        self._stride = self._width + 2 * r
        plane = np.empty((self._height + 2 * r, self._stride, embedding.shape[1]), np.int8)
        plane[...] = embedding[EDGE]
        plane[r : r + self._height, r : r + self._width] = embedding[first]
        self._planes = [plane.copy() for _ in geometry.radii[:-1]]  # this grid, the last and so on back
        self._background = plane
        self.codes, self.last, self.before = first.copy(), first.copy(), first.copy()
        self._changed_at = np.zeros(first.shape, np.int32)
        self._time = 0

    @staticmethod
    def check_size(geometry: Geometry, height: int, width: int) -> int:
        """Bytes of the planes for grids of this size; LimitError where they are too many."""
        border = 2 * max(geometry.radii)
        size = len(geometry.radii) * (height + border) * (width + border) * geometry.embedding
        name = f"the size of what the model sees of {width}x{height} codes, in bytes,"
        return limits.check(name, size, limits.MAX_PAST_BYTES)

    def changed_within(self, grids: int) -> NDArray[np.bool_]:
        """Where one of that many last grids differs from the one before it, bool [h, w]."""
        recent: NDArray[np.bool_] = self._changed_at > max(self._time - grids, 0)
        return recent

    def begin(self, attended: Integers) -> None:
        """Start the next grid: the last one again, but unknown at the attended places (y * w + x)."""
        self._planes.insert(0, self._planes.pop())
        self._planes[0][...] = self._planes[1]
        self._flat(self._planes[0])[self._in_plane(attended)] = self._embedding[UNKNOWN]
        self.codes, self.last, self.before = self.before, self.codes, self.last
        self.codes[...] = self.last

    def fill(self, places: Integers, codes: Codes) -> None:
        """Decoded codes at places (y * w + x) of this grid."""
        self._flat(self._planes[0])[self._in_plane(places)] = self._embedding[codes]
        self.codes.reshape(-1)[places] = codes

    def finish(self) -> None:
        """End this grid."""
        self._time += 1
        self._changed_at[self.codes != self.last] = self._time
        held_since = self._time - self._geometry.hold + 1
        if held_since > 0:
            settled = np.flatnonzero(self._changed_at == held_since)
            codes = self.codes.reshape(-1)[settled]
            self._flat(self._background)[self._in_plane(settled)] = self._embedding[codes]

    def windows_now(self, places: Integers) -> Reals:
        """The network's inputs of this grid at n places (y * w + x), float32 [n, inputs_now]."""
        return self._windows(places, self._planes[:1], self._geometry.radii[:1])

    def windows_past(self, places: Integers) -> Reals:
        """The network's other inputs, which do not change while a grid is coded, float32 [n, inputs - inputs_now]."""
        return self._windows(places, [*self._planes[1:], self._background], self._geometry.radii[1:])

    def _windows(self, places: Integers, planes: Sequence[_Plane], radii: Sequence[int]) -> Reals:
        y, x = np.divmod(places, self._width)
        width = self._embedding.shape[1]
        windows = np.empty((len(places), sum((2 * r + 1) ** 2 for r in radii) * width), np.float32)
        at = 0
        for plane, radius in zip(planes, radii, strict=True):
            side, offset = 2 * radius + 1, self._radius - radius
            part = windows[:, at : at + side * side * width].reshape(len(places), side, side * width)
            part[...] = self._views(plane, side)[y + offset, x + offset]
            at += side * side * width
        return windows

    def surroundings(self, places: Integers) -> Codes:
        """The codes around n places, uint8 [18, n]: of the last grid here and the one before; of this grid up, down,
        left, right (the last grid's where not decoded yet) and diagonally; of the last grid likewise.
        """
        y, x = np.divmod(places, self._width)
        ys, xs = np.clip(y + _RING_Y, 0, self._height - 1), np.clip(x + _RING_X, 0, self._width - 1)
        around = np.empty((18, len(places)), np.uint8)
        around[0], around[1] = self.last[y, x], self.before[y, x]
        around[2:10] = self.codes[ys, xs]
        around[10:] = self.last[ys, xs]
        return around

    def _views(self, plane: _Plane, side: int) -> NDArray[Any]:
        """A view of the window whose upper left corner lies at each place, int8 [..., ..., side, side * E]."""
        height, width, numbers = plane.shape
        down, right, one = plane.strides
        shape = (height - side + 1, width - side + 1, side, side * numbers)
        view: NDArray[Any] = as_strided(plane, shape, (down, right, down, one), writeable=False)
        return view

    def _flat(self, plane: _Plane) -> _Plane:
        return plane.reshape(-1, plane.shape[2])

    def _in_plane(self, places: Integers) -> Integers:
        y, x = np.divmod(places, self._width)
        inside: Integers = (y + self._radius) * self._stride + x + self._radius
        return inside
