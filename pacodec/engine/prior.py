"""What encoder and decoder both know before a GOP: a state of the engine after a list of segments was replayed."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from pacodec import limits
from pacodec.common.grids import Grids, GridSpec
from pacodec.common.locks import ForkSafeLock
from pacodec.engine.state import BlockCosts, SegmentDecoder, SegmentEncoder, State
from pacodec.errors import CorruptFileError

_BATCH_BYTES = 1 << 20
"""Codes replayed at a time."""


@dataclass(frozen=True)
class Segment:
    """Some grids coded by the engine, in the light of the segments before it."""

    frames: int
    data: bytes


@dataclass(frozen=True)
class Recording:
    """Segments one after the other, of grids of one shape: a model's reference, or a file's own."""

    spec: GridSpec
    segments: Sequence[Segment]

    def __post_init__(self) -> None:
        limits.check("the segments of a reference", len(self.segments), limits.MAX_REFERENCE_SEGMENTS)
        frames = sum(segment.frames for segment in self.segments)
        limits.check("the frames of a reference", frames, limits.MAX_REFERENCE_FRAMES)
        if any(segment.frames < 1 for segment in self.segments):
            raise CorruptFileError("a segment of a reference has no frames")

    def digest(self) -> str:
        """sha256 in hexadecimal of all that decides the state after a replay."""
        found = hashlib.sha256(repr(self.spec).encode())
        for segment in self.segments:
            found.update(segment.frames.to_bytes(8, "little") + len(segment.data).to_bytes(8, "little") + segment.data)
        return found.hexdigest()

    def grids(self, state: State, on_costs: Callable[[BlockCosts], None] | None = None) -> Iterator[Grids]:
        """All grids, uint8 [n, C, h, w] at a time, while `state`, for grids of this shape, learns from them.

        `on_costs` takes what they took, see `SegmentDecoder.costs`.

        Raises CorruptFileError where the segments do not hold them.
        """
        step = max(1, _BATCH_BYTES // self.spec.size)
        for segment in self.segments:
            decoder = SegmentDecoder(state, segment.data, keep_costs=on_costs is not None)
            for first in range(0, segment.frames, step):
                yield decoder.pull(min(step, segment.frames - first))
                if on_costs is not None and decoder.costs is not None:
                    on_costs(decoder.costs)
            decoder.finish()


def replay(recording: Recording, state: State) -> None:
    """Make `state` learn from a recording, which may have fewer channels: the others then are zero.

    Raises CorruptFileError where the recording is damaged or of another size.
    """
    spec, own = state.spec, recording.spec
    if (own.height, own.width, own.ordinal) != (spec.height, spec.width, spec.ordinal) or own.channels > spec.channels:
        raise CorruptFileError(
            f"a reference of {own.height}x{own.width} cannot serve grids of {spec.height}x{spec.width}"
        )
    if own.channels == spec.channels:
        for _ in recording.grids(state):
            pass
        return
    # The state after encoding is that after decoding.
    source = State.fresh(own)
    encoder = SegmentEncoder(state)
    for grids in recording.grids(source):
        wide = np.zeros((len(grids), spec.channels, spec.height, spec.width), np.uint8)
        wide[:, : own.channels] = grids
        encoder.push(wide)
    encoder.finish()


class Prior:
    """A state that GOPs begin from. Safe to share between threads."""

    def __init__(self, state: State) -> None:
        """Takes over `state`, which nobody may change from here on."""
        self.spec = state.spec
        self._state = state
        self._spare: list[State] = []
        self._lock = ForkSafeLock()

    @property
    def memory(self) -> int:
        """Bytes of a copy of the state."""
        return len(self._state.bytes)

    @contextmanager
    def borrowed(self) -> Iterator[State]:
        """A copy of the state to work with, whose memory is used again after the block."""
        copy = self.copy()
        try:
            yield copy
        finally:
            self.give_back(copy)

    def copy(self) -> State:
        """A copy of the state to work with; `give_back` lets its memory be used again."""
        with self._lock:
            copy = self._spare.pop() if self._spare else None
        return (copy or State.empty(self.spec)).assign(self._state)

    def give_back(self, copy: State) -> None:
        """Take the memory of a copy that nobody works with any more."""
        with self._lock:
            self._spare.append(copy)

    def after(self, recording: Recording) -> "Prior":
        """What is known after a further recording; CorruptFileError where that is damaged."""
        state = self.copy()
        replay(recording, state)
        return Prior(state)
