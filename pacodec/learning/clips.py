"""Recordings as code grids, held compressed: what a predictor learns from."""

import zlib
from collections.abc import Iterator

import numpy as np
import zstandard
from numpy.typing import NDArray

Grid = NDArray[np.uint8]
"""Codes of channel 0 of one frame, uint8 [h, w]."""

_MAX_RUN = 255
_LEVEL = 1
"""Of zstd: grids of palette indices shrink some 50 times and are back in microseconds."""


class Background:
    """The code that each pixel last held for at least `hold` grids; at first the first grid."""

    def __init__(self, first: Grid, hold: int) -> None:
        self.codes = first.copy()
        self._hold, self._last = hold, first
        self._run = np.full(first.shape, _MAX_RUN, np.uint8)

    def push(self, grid: Grid) -> None:
        """Take the next grid after the first; it is not copied."""
        same = grid == self._last
        self._run = np.where(same, np.minimum(self._run, _MAX_RUN - 1) + np.uint8(1), np.uint8(1))
        np.copyto(self.codes, grid, where=self._run >= self._hold)
        self._last = grid


class CodeClip:
    """The grids of one recording and their background, each compressed by itself."""

    def __init__(self, hold: int) -> None:
        """`hold`: grids that a code must have stayed to become background, at most 255."""
        self.hold = hold
        self.shape = (0, 0)
        """Rows and columns of the grids."""
        self.checksum = 0
        self.bytes = 0
        """Memory taken."""
        self._grids: list[bytes] = []
        self._backgrounds: list[bytes] = []
        self._background: Background | None = None
        self._pack = zstandard.ZstdCompressor(_LEVEL)

    def __len__(self) -> int:
        return len(self._grids)

    def append(self, grid: Grid) -> None:
        """Add the next grid."""
        grid = np.ascontiguousarray(grid)
        if self._background is None:
            self._background, self.shape = Background(grid, self.hold), (grid.shape[0], grid.shape[1])
        self._grids.append(self._pack.compress(grid.data))
        self._backgrounds.append(self._pack.compress(self._background.codes.data))
        self.bytes += len(self._grids[-1]) + len(self._backgrounds[-1])
        self.checksum = zlib.crc32(grid.data, zlib.crc32(repr(grid.shape).encode(), self.checksum))
        if len(self._grids) > 1:
            self._background.push(grid)

    def grid(self, t: int) -> Grid:
        """The codes of frame t."""
        return self._unpack(self._grids[t])

    def background(self, t: int) -> Grid:
        """The background as it is known before frame t."""
        return self._unpack(self._backgrounds[t])

    def __iter__(self) -> Iterator[Grid]:
        return map(self.grid, range(len(self)))

    def _unpack(self, data: bytes) -> Grid:
        # A fresh decompressor a call: they are cheap, and not to be shared by threads.
        return np.frombuffer(zstandard.ZstdDecompressor().decompress(data), np.uint8).reshape(self.shape)


def pack(grids: NDArray[np.uint8], hold: int) -> CodeClip:
    """A clip of codes uint8 [T, h, w]."""
    clip = CodeClip(hold)
    for grid in grids:
        clip.append(grid)
    return clip
