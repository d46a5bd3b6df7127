"""States after the replay of a model, kept in the user's cache folder, so that a model opens at once the second time.

A snapshot is trusted only where this user wrote it: an ordinary file of theirs that no one else may write. It is found
by what it is a state of (the recording, the shape of the grids, the build of the engine and its start) and checked by a
checksum. `PACODEC_STATE_CACHE=off` does without.
"""

import hashlib
import mmap
import os
import stat
import tempfile
import zlib
from contextlib import suppress
from pathlib import Path

from pacodec.common.files import unfinished
from pacodec.common.grids import GridSpec
from pacodec.engine.library import fingerprint, general_start
from pacodec.engine.prior import Prior, Recording, replay
from pacodec.engine.state import State, state_bytes

SWITCH = "PACODEC_STATE_CACHE"
"""Environment variable: `off` switches the cache off, a path is its folder."""
MAX_BYTES = 1 << 30
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


def folder() -> Path | None:
    """Where snapshots are kept; None where the cache is off."""
    configured = os.environ.get(SWITCH, "")
    if configured == "off":
        return None
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(configured) if configured else Path(cache).expanduser() / "pacodec" / "states"


def _path(recording: Recording, spec: GridSpec) -> Path | None:
    where = folder()
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
        if total <= MAX_BYTES:
            return
        path.unlink(missing_ok=True)
        total -= each.st_size
