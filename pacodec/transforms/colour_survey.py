"""Which colours footage shows, and how often: counted over all of its frames in one cheap pass.

A palette learned from a sample lacks the colours that the sample lacks. Counting every pixel of every frame would cost
more than encoding does, so only what changes is counted: a pixel that keeps its colour from frame s to frame e adds
e - s to that colour, which is noted as -s when it appears and +e when it goes.
"""

import numpy as np
from numpy.typing import NDArray

from pacodec.media import Image
from pacodec.transforms.palette import pack_colours

_UNIT = 8
"""Pixels that are compared, and counted anew, together: three machine words."""
_MOST_UNITS = 1 << 12
"""Units of a frame that are looked at; of more that changed every k-th, other ones in each frame."""


class ColourSurvey:
    """Counts the colours of frames of one size, added in order, in memory that does not grow with their number.

    Exact where at most 32768 pixels change from a frame to the next. Where more do, a part of them is looked at, and
    each pixel counts as the colour that was last seen there: frequent colours keep their weight, and a colour is
    missed only if every place that shows it for less than a few frames is one that was not looked at.
    """

    def __init__(self) -> None:
        self.frames = 0
        """Frames added so far."""
        self._size = 0
        self._seen = np.empty(0, np.uint8)
        self._counts = np.zeros(1 << 24, np.int64)  # its pages cost memory once their colours occur

    def add(self, picture: Image) -> None:
        """Count one frame, uint8 [H, W, 3]. ValueError if its size is not that of the first."""
        values = np.ascontiguousarray(picture).ravel()
        if not self.frames:
            self._size = values.size
            self._seen = np.zeros(-(-values.size // (3 * _UNIT)) * 3 * _UNIT, np.uint8)
            self._seen[: values.size] = values
        if values.size != self._size:
            raise ValueError(f"a picture of {values.size // 3} pixels among ones of {self._size // 3}")
        if values.size != self._seen.size:
            values = np.concatenate([values, self._seen[values.size :]])
        changed = values.view(np.uint64) != self._seen.view(np.uint64)
        units = np.flatnonzero(changed[0::3] | changed[1::3] | changed[2::3])
        if len(units) > _MOST_UNITS:
            stride = -(-len(units) // _MOST_UNITS)
            units = units[self.frames % stride :: stride]
        if len(units):
            new, seen = values.reshape(-1, 3 * _UNIT), self._seen.reshape(-1, 3 * _UNIT)
            self._note(seen[units], self.frames)
            self._note(new[units], -self.frames)
            seen[units] = new[units]
        self.frames += 1

    def colours(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The distinct colours, packed as by `pack_colours`, in ascending order, and the pixels that show each."""
        last = self._seen[: self._size]
        self._note(last, self.frames)
        found = np.flatnonzero(self._counts)
        counts = self._counts[found]
        self._note(last, -self.frames)  # so that further frames may follow
        return found.astype(np.int32), counts

    def _note(self, values: NDArray[np.uint8], time: int) -> None:
        np.add.at(self._counts, pack_colours(values.reshape(-1, 3)), time)
