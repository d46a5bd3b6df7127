"""What a file begins with, without which nothing can be decoded, and its copy at the end.

First the preamble, 20 bytes, little-endian:

    offset  size  field
    0       8     magic 89 50 41 43 0D 0A 1A 0A
    8       1     version of the format, u8
    9       1     oldest version of a reader that can read the file, u8
    10      2     flags, u16: 0; unknown bits are ignored
    12      4     frames in the file, u32; 0 = not known when these bytes were written
    16      4     CRC-32 of bytes 0..15, u32

Then the HEAD chunk, one map:

    writer     str     what wrote the file
    video      map     size, pixel aspect, rotation, colour, time base, and audio: one map a track
    grid       map     channels, height, width: int; ordinal: bool
    transform  map     name: str, params: map
    quantizer  map     name: str, params: map
    model      map     name: str, sha256: 32 bytes, bytes: int where it is embedded with parity; nil when none is needed
    reference  map     bytes, crc: int; segments: array of [frames, bytes]; nil when there is none

The payload of the copy, a head chunk that the index points at: the preamble, then HEAD's payload.
"""

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from pacodec import __version__, limits
from pacodec.common.media import GridSpec, VideoFormat
from pacodec.container import chunks, packing
from pacodec.container.byte_source import ByteSource, SizedByteSource
from pacodec.container.chunks import Chunk
from pacodec.errors import CorruptFileError, LimitError, UnsupportedError

MAGIC = b"\x89PAC\r\n\x1a\n"
VERSION = 2
WRITER = f"pacodec {__version__}"
"""What the header of a file says that wrote it."""
FIELDS = struct.Struct("<8sBBHI")
CRC = struct.Struct("<I")
PREAMBLE_BYTES = FIELDS.size + CRC.size
COPY_SHARE = 100
"""A copy is written where the file before it is this many times as long."""
HEAD_KEY = "head"
"""Of the index: where the copy is."""
MAX_NAME = 256
"""Characters of a name."""
SHA256_BYTES = 32


@dataclass(frozen=True)
class Component:
    """A transform, a quantizer or the coder of a GOP: its name and its parameters (plain msgpack values)."""

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_name(self.name, "name of a component")

    def to_dict(self) -> dict[str, Any]:
        """The map that the header carries."""
        return {"name": self.name, "params": self.params}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], what: str) -> Self:
        """The inverse of `to_dict`; CorruptFileError for missing or wrong fields."""
        return cls(packing.field(values, "name", str, what), packing.field(values, "params", dict, what))


@dataclass(frozen=True)
class ModelRef:
    """The model that a file needs: the name it was found under and the sha256 (32 bytes) that identifies it.

    size: bytes of the model where the file carries it with its parity, else None.
    """

    name: str
    sha256: bytes
    size: int | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        _check_name(self.name, "name of the model")
        if len(self.sha256) != SHA256_BYTES:
            raise CorruptFileError(f"header: the model's sha256 has {len(self.sha256)} bytes instead of {SHA256_BYTES}")
        if self.size is not None:
            limits.check("the size of the model", self.size, limits.MAX_MODEL_BYTES, least=1)

    def to_dict(self) -> dict[str, Any]:
        """The map that the header carries."""
        values = {"name": self.name, "sha256": self.sha256}
        return values if self.size is None else {**values, "bytes": self.size}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`; CorruptFileError or LimitError for wrong fields."""
        name = packing.field(values, "name", str, "header: model")
        sha256 = packing.field(values, "sha256", bytes, "header: model")
        size = None if values.get("bytes") is None else packing.field(values, "bytes", int, "header: model")
        return cls(name, sha256, size)


@dataclass(frozen=True)
class ReferenceInfo:
    """The recording that a file brings for its GOPs to begin after: what it takes to find, check and repair it.

    size: bytes of all segments. crc: CRC-32 of those. segments: frames and bytes of each. GOPs of the coder "reference"
    are the same grids: those of one segment each.
    """

    size: int
    crc: int
    segments: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        limits.check("the size of the reference", self.size, limits.MAX_REFERENCE_BYTES, least=1)
        limits.check("the segments of the reference", len(self.segments), limits.MAX_REFERENCE_SEGMENTS, least=1)
        limits.check("the checksum of the reference", self.crc, (1 << 32) - 1)
        for frames, length in self.segments:
            limits.check("the frames of a segment", frames, limits.MAX_GOP_FRAMES, least=1)
            limits.check("the bytes of a segment", length, limits.MAX_REFERENCE_BYTES)
        if sum(length for _, length in self.segments) != self.size:
            raise CorruptFileError("header: the segments of the reference do not add up to its size")

    def to_dict(self) -> dict[str, Any]:
        """The map that the header carries."""
        return {"bytes": self.size, "crc": self.crc, "segments": [list(segment) for segment in self.segments]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`; CorruptFileError or LimitError for wrong fields."""
        segments = packing.field(values, "segments", list, "header: reference")
        if not all(isinstance(item, list) and [type(value) for value in item] == [int, int] for item in segments):
            raise CorruptFileError("header: the segments of the reference are not pairs of integers")
        size, crc = (packing.field(values, key, int, "header: reference") for key in ("bytes", "crc"))
        return cls(size, crc, tuple((frames, length) for frames, length in segments))


@dataclass(frozen=True)
class Header:
    """What the HEAD chunk says; checked when made, so that every instance can be written and every read one trusted.

    Raises CorruptFileError for wrong values, LimitError for sizes over a bound.
    """

    writer: str
    video: VideoFormat
    grid: GridSpec
    transform: Component
    quantizer: Component
    model: ModelRef | None = None
    reference: ReferenceInfo | None = None

    def __post_init__(self) -> None:
        _check_name(self.writer, "writer")
        limits.check("the height of the code grid", self.grid.height, limits.MAX_SIDE, least=1)
        limits.check("the width of the code grid", self.grid.width, limits.MAX_SIDE, least=1)
        limits.check("the channels of the code grid", self.grid.channels, limits.MAX_CODES_PER_FRAME, least=1)
        limits.check("the codes of a frame", self.grid.size, limits.MAX_CODES_PER_FRAME)

    def to_msgpack(self) -> bytes:
        """The payload of the HEAD chunk; equal headers give equal bytes. LimitError when it is too long."""
        grid = self.grid
        values = {
            "writer": self.writer,
            "video": self.video.to_dict(),
            "grid": {
                "channels": grid.channels,
                "height": grid.height,
                "width": grid.width,
                "ordinal": grid.ordinal,
            },
            "transform": self.transform.to_dict(),
            "quantizer": self.quantizer.to_dict(),
            "model": self.model and self.model.to_dict(),
            "reference": self.reference and self.reference.to_dict(),
        }
        data = packing.pack_map(values, "header")
        limits.check("the length of the header", len(data), limits.MAX_HEADER_BYTES)
        return data

    @classmethod
    def from_msgpack(cls, data: bytes) -> Self:
        """Read an untrusted HEAD payload; keys that this version does not know are ignored."""
        values = packing.unpack_map(data, "header", limits.MAX_HEADER_BYTES)
        grid = packing.field(values, "grid", dict, "header")
        model, reference = values.get("model"), values.get("reference")
        return cls(
            writer=packing.field(values, "writer", str, "header"),
            video=VideoFormat.from_dict(packing.field(values, "video", dict, "header")),
            grid=GridSpec(
                channels=packing.field(grid, "channels", int, "header: grid"),
                height=packing.field(grid, "height", int, "header: grid"),
                width=packing.field(grid, "width", int, "header: grid"),
                ordinal=packing.field(grid, "ordinal", bool, "header: grid"),
            ),
            transform=_component(values, "transform"),
            quantizer=_component(values, "quantizer"),
            model=None if model is None else ModelRef.from_dict(packing.field(values, "model", dict, "header")),
            reference=None
            if reference is None
            else ReferenceInfo.from_dict(packing.field(values, "reference", dict, "header")),
        )


def _component(values: Mapping[str, Any], key: str) -> Component:
    return Component.from_dict(packing.field(values, key, dict, "header"), f"header: {key}")


def _check_name(text: str, what: str) -> None:
    # Names are printed on terminals: no escape sequences.
    if not text.isprintable() or len(text) > MAX_NAME:
        raise CorruptFileError(f"header: the {what} is over {MAX_NAME} characters or holds unprintable ones")


def pack_preamble(frames: int) -> bytes:
    """The preamble of a file of `frames` frames, 0 when not known yet."""
    fields = FIELDS.pack(MAGIC, VERSION, VERSION, 0, frames)
    return fields + CRC.pack(zlib.crc32(fields))


def unpack_preamble(raw: bytes) -> int:
    """Check the preamble and return its frame count, 0 when not known.

    CorruptFileError when these are not the first bytes of a .pac file or are damaged, UnsupportedError when a newer
    reader is needed, LimitError for too many frames.
    """
    if not raw.startswith(MAGIC):
        raise CorruptFileError("not a .pac file" if raw else "not a .pac file: it is empty")
    if len(raw) < PREAMBLE_BYTES:
        raise CorruptFileError(f"cut short: {len(raw)} bytes are left of the {PREAMBLE_BYTES} that begin a .pac file")
    _, version, min_reader, _, frames = FIELDS.unpack_from(raw)
    # Before the CRC: a later version may lay the rest out differently.
    if min_reader > VERSION:
        raise UnsupportedError(
            f"format version {version} needs a reader of version {min_reader} or newer, this one has {VERSION}"
        )
    if version < VERSION:
        raise UnsupportedError(f"format version {version} was given up before anything was stored in it")
    if raw[FIELDS.size : PREAMBLE_BYTES] != CRC.pack(zlib.crc32(raw[: FIELDS.size])):
        raise CorruptFileError("the first bytes are damaged (CRC mismatch)")
    return limits.check("the number of frames", int(frames), limits.MAX_FRAMES)


@dataclass(frozen=True)
class Front:
    """Declared frames (0 = unknown), the header, and the HEAD chunk that holds it."""

    frames: int
    header: Header
    head: Chunk


def read_front(source: ByteSource) -> Front:
    """The front of a file; CorruptFileError, UnsupportedError or LimitError where it is not usable."""
    frames = unpack_preamble(source.read_at(0, PREAMBLE_BYTES))
    head = chunks.chunk_at(source, PREAMBLE_BYTES)
    if head is None or head.kind != chunks.HEAD:
        raise CorruptFileError("the header is damaged or missing, nothing can be decoded without it")
    return Front(frames, Header.from_msgpack(chunks.read_payload(source, head)), head)


def pack_front(frames: int, header: bytes) -> bytes:
    """The payload of the copy, made of the payload of HEAD."""
    return pack_preamble(frames) + header


def unpack_front(payload: bytes) -> Front:
    """The front that a copy repeats, the HEAD chunk where it was; raises as `read_front`."""
    frames, header = unpack_preamble(payload[:PREAMBLE_BYTES]), payload[PREAMBLE_BYTES:]
    return Front(frames, Header.from_msgpack(header), Chunk(chunks.HEAD, PREAMBLE_BYTES, len(header)))


def index_chunk(source: SizedByteSource) -> Chunk | None:
    """The indx chunk that the last bytes of a file point at, None where they are no tail.

    CorruptFileError for a tail that is damaged or points elsewhere.
    """
    begin = source.size - chunks.OVERHEAD - chunks.MOST[chunks.TAIL]
    tail = chunks.chunk_at(source, begin) if begin >= 0 else None
    if tail is None or tail.kind != chunks.TAIL or tail.end != source.size:
        return None
    position = int.from_bytes(chunks.read_payload(source, tail), "little")
    chunk = chunks.chunk_at(source, position) if position < tail.offset else None
    if chunk is None or chunk.kind != chunks.INDEX or chunk.end != tail.offset:
        raise CorruptFileError("index: the last bytes do not point at it")
    return chunk


def recover_front(source: SizedByteSource) -> Front | None:
    """The front from its copy; None where the file has none that can be read. UnsupportedError for a newer version."""
    try:
        index = index_chunk(source)
        if index is None:
            return None
        values = packing.unpack_map(chunks.read_payload(source, index), "index", limits.MAX_INDEX_BYTES)
        position = packing.field(values, HEAD_KEY, int, "index")
        copy = chunks.chunk_at(source, position) if PREAMBLE_BYTES <= position < index.offset else None
        if copy is None or copy.kind != chunks.FRONT or copy.end > index.offset:
            return None
        return unpack_front(chunks.read_payload(source, copy))
    except (CorruptFileError, LimitError):
        return None
