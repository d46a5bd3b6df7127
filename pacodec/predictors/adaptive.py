"""Adaptive contexts, no training, any grid: counts start empty in each GOP and learn from what was coded.

Payload: uint32 (little-endian) size of the first grid's zstd frame, that frame (the codes as they are), then the range
coder's words for all further grids. No grids, no payload.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pacodec.entropy import RangeDecoder, RangeEncoder, SymbolCoder
from pacodec.errors import CorruptFileError
from pacodec.grids import Grids, GridSpec
from pacodec.predictors.base import GridDecoder, GridEncoder, check_grid
from pacodec.predictors.nominal import Codes, NominalModel
from pacodec.predictors.ordinal import OrdinalModel
from pacodec.predictors.squeezed import pack_first, unpack_first


class AdaptivePredictor:
    """Learns as it goes; see `nominal` and `ordinal` for the two natures of grids."""

    name = "adaptive"
    looks_back = 0
    origin = b""

    def memory(self, spec: GridSpec) -> int:
        """See `Predictor.memory`."""
        return (OrdinalModel if spec.ordinal else NominalModel).memory(spec)

    def encoder(self, spec: GridSpec, costs: NDArray[np.float64] | None = None) -> GridEncoder:
        """A fresh encoder of one GOP, which keeps every code."""
        check_grid(self, spec)
        return _Encoder(spec)

    def decoder(self, spec: GridSpec, payload: bytes) -> GridDecoder:
        """A fresh decoder of one GOP's payload."""
        check_grid(self, spec)
        return _Decoder(spec, payload)


class _Model(Protocol):
    def code(self, coder: SymbolCoder, truth: Codes | None) -> Codes: ...


def _model(spec: GridSpec, first: Codes) -> _Model:
    return OrdinalModel(spec, first) if spec.ordinal else NominalModel(spec, first)


class _Encoder:
    def __init__(self, spec: GridSpec) -> None:
        self._spec = spec
        self._coder = RangeEncoder()
        self._first = b""
        self._model: _Model | None = None

    def push(self, grids: Grids) -> Grids:
        for grid in grids:
            if self._model is None:
                self._first = pack_first(grid)
                self._model = _model(self._spec, grid)
            else:
                self._model.code(self._coder, grid)
        return grids

    def finish(self) -> bytes:
        return self._first + self._coder.finish() if self._first else b""


class _Decoder:
    def __init__(self, spec: GridSpec, payload: bytes) -> None:
        self._spec = spec
        self._payload = payload
        self._coder: RangeDecoder | None = None
        self._model: _Model | None = None

    def pull(self, n: int) -> Grids:
        spec = self._spec
        grids = np.empty((n, spec.channels, spec.height, spec.width), np.uint8)
        for grid in grids:
            if self._model is None or self._coder is None:
                grid[...] = self._start()
                self._model = _model(spec, grid)
            else:
                grid[...] = self._model.code(self._coder, None)
        return grids

    def finish(self) -> None:
        if self._coder is not None:
            self._coder.finish()
        elif self._payload:
            raise CorruptFileError("the payload of adaptive codes holds grids that nobody asked for")

    def _start(self) -> Codes:
        """Split the payload and return the first grid."""
        grid, words = unpack_first(self._payload, self._spec, AdaptivePredictor.name)
        self._coder, self._payload = RangeDecoder(words), b""
        return grid
