"""Colours as 24-bit integers, which sort and compare fast; where one picture differs from another; another size."""

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from pacodec.common.media import Image, Pictures

MAX_COLOURS = 256
"""Colours that one byte can name."""


def pack_colours(pictures: Pictures) -> NDArray[np.uint32]:
    """uint8 [..., 3] to 24-bit integers [...], red being the lowest byte."""
    flat = np.ascontiguousarray(pictures).reshape(-1)
    packed = np.empty(len(flat) // 3, np.uint32)
    # Four bytes from each pixel's first on, of which the last is the next pixel's; the last pixel has no next.
    if len(packed) > 1:
        words = as_strided(flat[:4].view("<u4"), (len(packed) - 1,), (3,), writeable=False)
        np.bitwise_and(words, np.uint32(0xFFFFFF), out=packed[:-1])
    if len(packed):
        packed[-1] = int.from_bytes(flat[-3:].tobytes(), "little")
    return packed.reshape(pictures.shape[:-1])


def unpack_colours(packed: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """24-bit integers [N] to uint8 [N, 3]."""
    return np.stack([packed & 255, packed >> 8 & 255, packed >> 16], 1).astype(np.uint8)


BLOCK = 8
"""Pixels of a side of the blocks that changes are counted in."""


def changed_rows(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which rows differ of two arrays uint8 [H, ...] of one shape, bool [H]."""
    return np.asarray(_differing(before, after).any(1), np.bool_)


def changed_pixels(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> int:
    """Pixels of the 8x8 blocks that differ of two pictures uint8 [H, W, C] of one size; 0 where they are equal."""
    height, width, channels = before.shape
    differing = _differing(before, after)
    columns = max(1, BLOCK * differing.shape[1] // width) if width % BLOCK == 0 else channels * BLOCK  # of a block
    rows = differing.any(1)
    if not rows.any():
        return 0
    block_rows = np.asarray(np.logical_or.reduceat(rows, np.arange(0, height, BLOCK)), np.bool_)
    kept = np.flatnonzero(block_rows) * BLOCK
    count = 0
    starts = np.arange(0, differing.shape[1], columns)
    for top in kept:
        row = np.logical_or.reduce(differing[top : top + BLOCK], axis=0)
        count += int(np.count_nonzero(np.logical_or.reduceat(row, starts)))
    return min(count * BLOCK * BLOCK, int(height * width))


def _differing(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where two arrays [H, ...] differ, bool [H, n], in words of 8 bytes where a row is made of such."""
    one, other = (_words(np.ascontiguousarray(values)) for values in (before, after))
    return np.asarray(one != other, np.bool_)


def _words(values: NDArray[np.uint8]) -> NDArray[Any]:
    rows = values.reshape(len(values), -1)
    return rows.view(np.uint64) if rows.shape[1] % 8 == 0 else rows


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
        """All colours that occur, uint8 [N, 3]; None where there are too many."""
        return None if self.many else unpack_colours(np.flatnonzero(self._seen).astype(np.uint32))


def resize(pictures: Pictures, height: int, width: int) -> Pictures:
    """uint8 [n, H, W, 3] to [n, height, width, 3] by Lanczos resampling, the study's choice; as they are when equal."""
    if pictures.shape[1:3] == (height, width):
        return pictures
    import cv2  # here, so that what never resizes stays small

    resized = np.empty((len(pictures), height, width, 3), np.uint8)
    for source, target in zip(pictures, resized, strict=True):
        cv2.resize(source, (width, height), dst=target, interpolation=cv2.INTER_LANCZOS4)
    return resized
