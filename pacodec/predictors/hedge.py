"""Footage that a model does not know must not cost more than it would without the model.

A GOP whose first grids take many bits is coded in the other ways as well, and the smallest payload is kept. Familiar
footage, which takes few, costs nothing further.
"""

from collections.abc import Mapping
from typing import Protocol

from pacodec.grids import Grids, GridSpec
from pacodec.predictors.base import GridEncoder, Predictor

_TRIAL = 16
"""Grids after which it is decided whether the footage is familiar."""
_FAMILIAR = 1 / 128
"""Bits for each code of a grid that familiar footage stays under."""


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
        self._kept: list[Grids] = []
        self._trial = _TRIAL

    def push(self, grids: Grids) -> Grids:
        """See `GridEncoder.push`."""
        coded = self._encoder.push(grids)
        for encoder in self._running.values():
            encoder.push(coded)
        if self._trial > 0:
            self._kept.append(coded)
            self._trial -= len(coded)
            if self._trial <= 0:
                frames = sum(map(len, self._kept))
                if self._encoder.bits > _FAMILIAR * self._spec.size * frames:
                    self._run_others()
                self._kept = []
        return coded

    def finish(self) -> bytes:
        """The smallest payload."""
        if self._kept:  # too short a GOP to tell
            self._run_others()
        payloads = [bytes([mode]) + encoder.finish() for mode, encoder in self._running.items()]
        return min((self._encoder.finish(), *payloads), key=len)

    def _run_others(self) -> None:
        for mode, predictor in self._others.items():
            encoder = self._running[mode] = predictor.encoder(self._spec)
            for grids in self._kept:
                encoder.push(grids)
