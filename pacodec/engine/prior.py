"""What encoder and decoder both know before a GOP: a state of the engine after a list of segments was replayed.

States after the replay of a model are kept in the user's cache folder, so that a model opens at once the second time.
Such a snapshot is trusted only where this user wrote it: an ordinary file of theirs that no one else may write. It is
found by what it is a state of (the recording, the shape of the grids, the build of the engine and its start) and
checked by a checksum.
"""

import hashlib
import mmap
import os
import stat
import tempfile
import weakref
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacodec import limits
from pacodec.common.files import unfinished
from pacodec.common.locks import ForkSafeLock
from pacodec.common.media import Grids, GridSpec
from pacodec.engine.library import fingerprint, general_start
from pacodec.engine.state import BlockCosts, SegmentDecoder, SegmentEncoder, State, state_bytes
from pacodec.errors import CorruptFileError

_BATCH_BYTES = 1 << 20
"""Codes replayed at a time."""
SHARED_PIXELS = 1 << 20
"""Of a grid, from which on copies of a state share memory; that takes some time for each page that is changed."""


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
    """A state that GOPs begin from. Safe to share between threads and after a fork.

    Copies of a large one share the memory of what they leave as it is, where the system can do that.
    """

    def __init__(self, state: State) -> None:
        """Takes over `state`, which nobody may change from here on."""
        self.spec = state.spec
        self._state: State | None = state
        self._shared: int | None = None
        if state.spec.height * state.spec.width >= SHARED_PIXELS and hasattr(os, "memfd_create"):
            self._shared, self._state = _memory_file(state.bytes), None
            weakref.finalize(self, os.close, self._shared)
        self._spare: list[State] = []
        self._lock = ForkSafeLock()

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
        if self._shared is not None:
            return State(self.spec, mmap.mmap(self._shared, 0, flags=mmap.MAP_PRIVATE))
        assert self._state is not None
        with self._lock:
            copy = self._spare.pop() if self._spare else None
        return (copy or State.empty(self.spec)).assign(self._state)

    def give_back(self, copy: State) -> None:
        """Take the memory of a copy that nobody works with any more."""
        if self._shared is not None:
            copy.forget()
            return
        with self._lock:
            self._spare.append(copy)

    def after(self, recording: Recording) -> "Prior":
        """What is known after a further recording; CorruptFileError where that is damaged."""
        state = self.copy()
        replay(recording, state)
        return Prior(state)


def _memory_file(data: NDArray[np.uint8]) -> int:
    """The descriptor of a file in memory that holds the bytes; pages of zeros take none."""
    file = os.memfd_create("pacodec")
    os.truncate(file, len(data))
    whole = data[: len(data) // mmap.PAGESIZE * mmap.PAGESIZE].view(np.uint64)
    used = np.append(whole.reshape(-1, mmap.PAGESIZE // 8).any(1), True)  # and what is less than a page
    for first, last in mmap.PAGESIZE * np.flatnonzero(np.diff(used, prepend=False, append=False)).reshape(-1, 2):
        os.pwrite(file, data[first:last].data, first)
    return file


STATE_CACHE_VARIABLE = "PACODEC_STATE_CACHE"
"""Environment variable: `off` switches the cache off, a path is its folder."""
STATE_CACHE_BYTES = 1 << 30
"""All snapshots together; the ones not used for longest go first."""
_SUFFIX = ".state"
_CRC_BYTES = 4


def prior_of(recording: Recording, spec: GridSpec) -> Prior:
    """What is known after a recording, for grids of a shape: from the cache, or by a replay that is then cached.

    Raises CorruptFileError where the recording is damaged or does not fit the grids, LimitError where it is too large.
    """
    path = _path(recording, spec)
    state = None if path is None else _load(path, spec)
    if state is None:
        state = State.fresh(spec)
        replay(recording, state)
        if path is not None:
            with suppress(OSError):  # a full disk or a read-only home: the next run replays again
                _save(path, state)
    return Prior(state)


def state_cache_folder() -> Path | None:
    """Where snapshots are kept; None where the cache is off."""
    configured = os.environ.get(STATE_CACHE_VARIABLE, "")
    if configured == "off":
        return None
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(configured) if configured else Path(cache).expanduser() / "pacodec" / "states"


def _path(recording: Recording, spec: GridSpec) -> Path | None:
    where = state_cache_folder()
    shape = f"{spec.channels}x{spec.height}x{spec.width}"
    build = hashlib.sha256(fingerprint().encode() + general_start()).hexdigest()
    return where and where / f"{recording.digest()[:32]}-{shape}-{build[:16]}{_SUFFIX}"


def _load(path: Path, spec: GridSpec) -> State | None:
    """The state in a snapshot, mapped privately; None where there is none to be trusted."""
    size = state_bytes(spec)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        found = os.fstat(descriptor)
        others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or others:
            return None
        if found.st_size != size + _CRC_BYTES:
            return None
        stored = os.pread(descriptor, _CRC_BYTES, size)
        memory = mmap.mmap(descriptor, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    if zlib.crc32(memory) != int.from_bytes(stored, "little"):
        return None
    with suppress(OSError):
        os.utime(path)
    return State(spec, memory)


def _save(path: Path, state: State) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _make_room(path.parent, len(state.bytes))
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")  # which nobody else may read or write
    with unfinished(Path(name)) as part:
        with os.fdopen(handle, "wb") as file:
            file.write(state.bytes.data)
            file.write(zlib.crc32(state.bytes.data).to_bytes(_CRC_BYTES, "little"))
        part.replace(path)


def _make_room(where: Path, size: int) -> None:
    """Remove the snapshots that were not used for longest, until `size` more bytes fit."""
    found = [(path, path.stat()) for path in where.glob(f"*{_SUFFIX}")]
    total = size + sum(each.st_size for _, each in found)
    for path, each in sorted(found, key=lambda item: item[1].st_mtime):
        if total <= STATE_CACHE_BYTES:
            return
        path.unlink(missing_ok=True)
        total -= each.st_size
