"""All colours that occur in some pictures."""

import numpy as np
from numpy.typing import NDArray

from pacodec.common.colours import pack_colours, unpack_colours
from pacodec.common.media import Image
from pacodec.transforms.changes import changed_rows

MANY_COLOURS = 1 << 16
"""Colours from which footage is no affair of palettes."""


class ColourSet:
    """Which of the 2^24 colours occur; quick where rows of a picture are those of the one before."""

    def __init__(self) -> None:
        self._seen = np.zeros(1 << 24, np.bool_)
        self._count = 0
        self._last: Image | None = None

    def __len__(self) -> int:
        return self._count

    @property
    def many(self) -> bool:
        """Whether there are `MANY_COLOURS` or more; further ones are not counted then."""
        return self._count >= MANY_COLOURS

    def add(self, picture: Image) -> None:
        """Look at a picture, uint8 [H, W, 3]."""
        if self.many:
            return
        same = self._last is not None and self._last.shape == picture.shape
        rows = changed_rows(self._last, picture) if self._last is not None and same else slice(None)
        packed = pack_colours(picture[rows])
        fresh = packed[~self._seen[packed]]
        if len(fresh):
            new = np.unique(fresh)
            self._seen[new] = True
            self._count += len(new)
        self._last = picture

    def found(self) -> NDArray[np.uint8] | None:
        """All of them, uint8 [N, 3]; None where there are too many."""
        return None if self.many else unpack_colours(np.flatnonzero(self._seen).astype(np.uint32))
