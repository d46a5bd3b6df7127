"""Footage that a model does not know must not cost more than it would without the model.

A GOP that takes many bits is coded in the other ways as well, and the smallest payload is kept. Familiar footage, which
takes few, costs no more than keeping its grids until that is known.
"""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import zstandard

from pacodec.grids import Grids, GridSpec
from pacodec.limits import MIB
from pacodec.predictors.base import GridEncoder, Predictor

_FAMILIAR = 1 / 128
"""Bits for each code of a grid that familiar footage stays under."""
_SHORT = 16
"""Grids of a GOP in which the first one weighs so much that the others are tried in any case."""
_LEVEL = 1
_KEPT_BYTES = 16 * MIB
"""Grids, compressed, that are kept; where they would take more, the others run beside from there on."""


class SizedEncoder(GridEncoder, Protocol):
    """An encoder that tells how far it has come."""

    @property
    def bits(self) -> int:
        """Taken so far by all but the first grid."""


class HedgedEncoder:
    """A GOP's encoder by a model, beside which others may run; a first byte tells theirs from its own payloads."""

    def __init__(self, encoder: SizedEncoder, others: Mapping[int, Predictor], spec: GridSpec) -> None:
        """`others`: predictors by the first byte of their payloads."""
        self._encoder, self._others, self._spec = encoder, others, spec
        self._running: dict[int, GridEncoder] = {}
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL)
        self._kept: list[bytes] = []
        self._kept_bytes = self._frames = 0

    def push(self, grids: Grids) -> Grids:
        """See `GridEncoder.push`."""
        coded = self._encoder.push(grids)
        self._frames += len(coded)
        for encoder in self._running.values():
            encoder.push(coded)
        if not self._running and self._others:
            self._kept.append(self._compressor.compress(coded.tobytes()))
            self._kept_bytes += len(self._kept[-1])
            if self._kept_bytes > _KEPT_BYTES:
                self._run_others()
        return coded

    def finish(self) -> bytes:
        """The smallest payload."""
        if self._kept and (self._frames < _SHORT or self._encoder.bits > _FAMILIAR * self._spec.size * self._frames):
            self._run_others()
        payloads = [bytes([mode]) + encoder.finish() for mode, encoder in self._running.items()]
        return min((self._encoder.finish(), *payloads), key=len)

    def _run_others(self) -> None:
        self._running = {mode: predictor.encoder(self._spec) for mode, predictor in self._others.items()}
        shape = -1, self._spec.channels, self._spec.height, self._spec.width
        for packed in self._kept:
            grids = np.frombuffer(zstandard.ZstdDecompressor().decompress(packed), np.uint8).reshape(shape)
            for encoder in self._running.values():
                encoder.push(grids)
        self._kept = []
