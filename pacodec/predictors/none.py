"""The floor that every predictor is measured against: zstd of temporal differences."""

import numpy as np
from numpy.typing import NDArray

from pacodec.grids import Grids, GridSpec
from pacodec.predictors.base import GridDecoder, GridEncoder, check_grid
from pacodec.predictors.squeezed import WINDOW_BITS, BoundedReader, stream_compressor


class NonePredictor:
    """Predicts each code to be the last grid's, the first grid's to be 0; codes the difference mod 256."""

    name = "none"
    looks_back = 0
    origin = None  # zstd works beside other threads

    def memory(self, spec: GridSpec) -> int:
        """See `Predictor.memory`."""
        return 5 * spec.size + (1 << WINDOW_BITS)

    def encoder(self, spec: GridSpec, costs: NDArray[np.float64] | None = None) -> GridEncoder:
        """A fresh encoder of one GOP, which keeps every code."""
        check_grid(self, spec)
        return _Encoder(spec)

    def decoder(self, spec: GridSpec, payload: bytes) -> GridDecoder:
        """A fresh decoder of one GOP's payload."""
        check_grid(self, spec)
        return _Decoder(spec, payload)


class _Encoder:
    def __init__(self, spec: GridSpec) -> None:
        self._last = np.zeros((spec.channels, spec.height, spec.width), np.uint8)
        self._compressor = stream_compressor()
        self._parts: list[bytes] = []

    def push(self, grids: Grids) -> Grids:
        for grid in grids:
            self._parts.append(self._compressor.compress((grid - self._last).tobytes()))
            self._last[...] = grid
        return grids

    def finish(self) -> bytes:
        return b"".join(self._parts) + self._compressor.flush()


class _Decoder:
    def __init__(self, spec: GridSpec, payload: bytes) -> None:
        self._spec = spec
        self._last = np.zeros((spec.channels, spec.height, spec.width), np.uint8)
        self._reader = BoundedReader(payload)

    def pull(self, n: int) -> Grids:
        grids = np.empty((n, *self._last.shape), np.uint8)
        for grid in grids:
            difference = np.frombuffer(self._reader.read(self._spec.size), np.uint8)
            self._last += difference.reshape(self._last.shape)
            grid[...] = self._last
        return grids

    def finish(self) -> None:
        self._reader.finish()
