"""The indx chunk: where the GOPs are, as one map. It repeats what the GOPs say, so a scan can replace it.

    source_bytes  int    size of the footage that was encoded; nil when not known
    codes_bytes   int    bytes of all coders' payloads
    audio_bytes   int    bytes of all audp chunks
    gops          int    number of GOPs g
    coders        array  names of the coders of the GOPs
    entries       bytes  varints, packed as by `zstd_frames`: six columns of g each
    head          int    where the head chunk is that repeats the front of the file; not there when there is none

Columns: bytes between the previous GOP chunk (or the HEAD chunk) and this one; payload length; frames; zigzag of the
start less the end of the previous GOP (or 0); end less start; number of the coder in the list. All but the first start
and the coders are counted up from what comes before, so entries cannot overlap, go back or loop.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacodec import limits
from pacodec.common.zstd_frames import pack, unpack
from pacodec.container import chunks, gop, packing
from pacodec.container.header import HEAD_KEY
from pacodec.container.packing import MAX_VARINT_BYTES, decode_varints, encode_varints, unzigzag, zigzag
from pacodec.errors import CorruptFileError

COLUMNS = 6
MIN_GOP_CHUNK = chunks.OVERHEAD + gop.FIELDS.size


@dataclass(frozen=True, slots=True)
class GopEntry:
    """A GOP chunk: offset in the file, payload length in bytes, frames, and its time span in time-base units."""

    offset: int
    length: int
    first_frame: int
    frames: int
    start: int
    end: int
    coder: str

    @classmethod
    def of(cls, found: gop.Gop, chunk: chunks.Chunk) -> "GopEntry":
        """The entry of the GOP that is in `chunk`."""
        return cls(
            chunk.offset, chunk.length, found.first_frame, found.frames, found.start, found.end, found.coder.name
        )

    @property
    def chunk(self) -> chunks.Chunk:
        """The chunk that the entry points at."""
        return chunks.Chunk(chunks.GOP, self.offset, self.length)


@dataclass(frozen=True)
class Index:
    """The contents of the indx chunk."""

    entries: Sequence[GopEntry]
    codes_bytes: int
    audio_bytes: int
    source_bytes: int | None
    front_copy: int | None = None
    """Offset of the head chunk."""

    @property
    def frames(self) -> int:
        """Frames of all GOPs."""
        return sum(entry.frames for entry in self.entries)

    def to_payload(self, origin: int) -> bytes:
        """The chunk's payload, for GOPs that follow the HEAD chunk's end at offset `origin`."""
        ends = [origin, *(entry.chunk.end for entry in self.entries[:-1])]
        times = [0, *(entry.end for entry in self.entries[:-1])]
        coders = sorted({entry.coder for entry in self.entries})
        columns = (
            np.array([entry.offset - end for entry, end in zip(self.entries, ends, strict=False)], np.int64),
            np.array([entry.length for entry in self.entries], np.int64),
            np.array([entry.frames for entry in self.entries], np.int64),
            zigzag(np.array([entry.start - time for entry, time in zip(self.entries, times, strict=False)], np.int64)),
            np.array([entry.end - entry.start for entry in self.entries], np.int64),
            np.array([coders.index(entry.coder) for entry in self.entries], np.int64),
        )
        values: dict[str, Any] = {
            "source_bytes": self.source_bytes,
            "codes_bytes": self.codes_bytes,
            "audio_bytes": self.audio_bytes,
            "gops": len(self.entries),
            "coders": coders,
            "entries": pack(encode_varints(np.concatenate(columns))),
        }
        if self.front_copy is not None:
            values[HEAD_KEY] = self.front_copy
        return packing.pack_map(values, "index")

    @classmethod
    def from_payload(cls, data: bytes, origin: int, end: int) -> "Index":
        """Read an untrusted index whose GOPs lie between `origin` (end of HEAD) and `end` (start of the index).

        CorruptFileError when it cannot be true, LimitError for too many frames.
        """
        values = packing.unpack_map(data, "index", limits.MAX_INDEX_BYTES)
        count = packing.field(values, "gops", int, "index")
        # What the file can hold bounds the entries before any memory is taken for them.
        limits.check("the number of GOPs", count, limits.MAX_FRAMES)
        if count > (end - origin) // MIN_GOP_CHUNK:
            raise CorruptFileError(f"index: {count} GOPs do not fit the file")
        most = min(count * COLUMNS * MAX_VARINT_BYTES, limits.MAX_INDEX_BYTES)
        packed = packing.field(values, "entries", bytes, "index")
        table = decode_varints(unpack(packed, "index entries", most), COLUMNS * count)
        if len(table) != COLUMNS * count:
            raise CorruptFileError(f"index: {len(table)} values instead of {COLUMNS * count}")
        coders = packing.field(values, "coders", list, "index")
        if not all(isinstance(name, str) and name.isprintable() for name in coders):
            raise CorruptFileError("index: the coders are not a list of names")
        source_bytes = values.get("source_bytes")
        if source_bytes is not None and packing.field(values, "source_bytes", int, "index") < 0:
            raise CorruptFileError("index: the size of the source is negative")
        front_copy = packing.field(values, HEAD_KEY, int, "index") if HEAD_KEY in values else None
        if front_copy is not None and not origin <= front_copy < end:
            raise CorruptFileError("index: the copy of the header lies outside the file")
        index = cls(
            entries=_entries(table.reshape(COLUMNS, count), coders, origin, end),
            codes_bytes=packing.field(values, "codes_bytes", int, "index"),
            audio_bytes=packing.field(values, "audio_bytes", int, "index"),
            source_bytes=source_bytes,
            front_copy=front_copy,
        )
        if not (0 <= index.codes_bytes <= end - origin and 0 <= index.audio_bytes <= end - origin):
            raise CorruptFileError("index: bytes by kind do not fit the file")
        return index


def _entries(table: NDArray[np.int64], names: Sequence[str], origin: int, end: int) -> list[GopEntry]:
    gaps, lengths, frames, starts, spans, coders = table
    room = end - origin
    if (gaps > room).any() or (lengths > room).any() or (lengths < gop.FIELDS.size).any():
        raise CorruptFileError("index: a GOP lies outside the file")
    # One addend is below 2^62, so a sum that wraps around shows as a step back.
    ends = origin + np.cumsum(gaps + lengths + chunks.OVERHEAD)
    offsets = ends - lengths - chunks.OVERHEAD
    if ends.size and (ends[-1] > end or (np.diff(ends) <= 0).any() or ends[0] <= origin):
        raise CorruptFileError("index: a GOP lies outside the file")
    if (frames < 1).any() or (frames > limits.MAX_GOP_FRAMES).any():
        raise CorruptFileError("index: a GOP has no frames or too many")
    if (coders >= len(names)).any():
        raise CorruptFileError("index: a GOP is of a coder that is not in the list")
    limits.check("the number of frames", int(frames.sum()), limits.MAX_FRAMES)
    steps = unzigzag(starts)
    if (steps[1:] < 0).any() or (spans < 0).any() or (spans > 2 * gop.MAX_PTS).any():
        raise CorruptFileError("index: timestamps go back")
    stops = np.cumsum(steps + spans)
    begins = stops - spans
    if (begins < -gop.MAX_PTS).any() or (stops > gop.MAX_PTS).any() or (np.diff(stops) < 0).any():
        raise CorruptFileError("index: timestamps are out of range")
    columns = (offsets, lengths, np.cumsum(frames) - frames, frames, begins, stops, coders)
    return [
        GopEntry(offset, length, first, count, start, stop, names[coder])
        for offset, length, first, count, start, stop, coder in zip(*(c.tolist() for c in columns), strict=True)
    ]
