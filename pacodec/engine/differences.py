"""The floor that the engine is measured against, and its fallback: zstd of temporal differences."""

import numpy as np

from pacodec.common.media import Grids, GridSpec
from pacodec.common.zstd_frames import WINDOW_BITS, StreamReader, stream_compressor

LEVEL = 19


def differences_memory(spec: GridSpec) -> int:
    """The memory in bytes that decoding such grids takes, about."""
    return 5 * spec.size + (1 << WINDOW_BITS)


class DifferencesEncoder:
    """Codes each grid as its difference mod 256 from the last one, the first from zeros."""

    def __init__(self, spec: GridSpec, level: int = LEVEL) -> None:
        """`level` is zstd's: 1 fast to 19 small."""
        self._last = np.zeros((spec.channels, spec.height, spec.width), np.uint8)
        self._compressor = stream_compressor(level)
        self._parts: list[bytes] = []

    def push(self, grids: Grids) -> Grids:
        """Take the next grids, uint8 [n, C, h, w], which come back as they are."""
        for grid in grids:
            self._parts.append(self._compressor.compress((grid - self._last).tobytes()))
            self._last[...] = grid
        return grids

    def finish(self) -> bytes:
        return b"".join(self._parts) + self._compressor.flush()


class DifferencesDecoder:
    """Decodes what `DifferencesEncoder` gave, untrusted."""

    costs = None  # nobody can say what a part of a zstd stream is of

    def __init__(self, spec: GridSpec, payload: bytes) -> None:
        self._spec = spec
        self._last = np.zeros((spec.channels, spec.height, spec.width), np.uint8)
        self._reader = StreamReader(payload)

    def pull(self, n: int) -> Grids:
        """The next grids, uint8 [n, C, h, w]; CorruptFileError where the payload does not hold them."""
        grids = np.empty((n, *self._last.shape), np.uint8)
        for grid in grids:
            difference = np.frombuffer(self._reader.read(self._spec.size), np.uint8)
            self._last += difference.reshape(self._last.shape)
            grid[...] = self._last
        return grids

    def finish(self) -> None:
        """CorruptFileError where the payload holds more."""
        self._reader.finish()
