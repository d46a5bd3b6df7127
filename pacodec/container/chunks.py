"""The chunk: type, length, CRC of both, payload, CRC of the payload; all that a file holds after its preamble.

offset  size  field
0       4     type: ASCII letters; uppercase first = critical, lowercase first = optional
4       4     length n of the payload, u32
8       4     CRC-32 of bytes 0..7, u32: recovery may trust a length that it covers
12      n     payload
12+n    4     CRC-32 of the payload, u32
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pacodec import limits
from pacodec.container.byte_source import WINDOW, ByteSource
from pacodec.errors import CorruptFileError, UnsupportedError

HEAD, REFERENCE, MODEL, GOP, AUDIO = "HEAD", "REFR", "modl", "GOPC", "audp"
MODEL_PARITY, FRONT, INDEX, TAIL = "modp", "head", "indx", "tail"

PREFIX = struct.Struct("<4sI")
CRC = struct.Struct("<I")
PREFIX_BYTES = PREFIX.size + CRC.size
OVERHEAD = PREFIX_BYTES + CRC.size
"""Bytes of a chunk beside its payload."""

MOST = {
    HEAD: limits.MAX_HEADER_BYTES,
    REFERENCE: 2 * limits.MAX_REFERENCE_BYTES,
    MODEL: limits.MAX_MODEL_BYTES,
    MODEL_PARITY: limits.MAX_MODEL_BYTES,
    GOP: limits.MAX_GOP_BYTES,
    AUDIO: limits.MAX_AUDIO_BYTES,
    FRONT: 2 * limits.MAX_HEADER_BYTES,
    INDEX: limits.MAX_INDEX_BYTES,
    TAIL: 8,
}
MAX_UNKNOWN_BYTES = limits.MAX_GOP_BYTES
"""Payload of a chunk whose type this version does not know."""

SEARCH_BYTES = 1 << 12
"""Bytes that a search looks at first; twice as many each time nothing is found."""

_KNOWN = re.compile("|".join(MOST).encode())

Note = Callable[[str], None]
"""Takes a one-line description of damage."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Where a chunk lies; `length` is that of its payload."""

    kind: str
    offset: int
    length: int

    @property
    def payload_offset(self) -> int:
        """Offset of the payload's first byte."""
        return self.offset + PREFIX_BYTES

    @property
    def end(self) -> int:
        """Offset of the byte after the chunk."""
        return self.offset + self.length + OVERHEAD

    def __str__(self) -> str:
        return f"the {self.kind} chunk at offset {self.offset}"


def prefix(kind: str, length: int) -> bytes:
    """The 12 bytes before the payload; LimitError when the payload is too long for its type."""
    limits.check(f"the length of a {kind} chunk", length, MOST[kind])
    head = PREFIX.pack(kind.encode(), length)
    return head + CRC.pack(zlib.crc32(head))


def chunk_at(source: ByteSource, offset: int) -> Chunk | None:
    """The chunk whose prefix is at `offset`, None when no valid one is there; LimitError when it is too long."""
    return _parse(source.read_at(offset, PREFIX_BYTES), offset)


def is_intact(source: ByteSource, chunk: Chunk) -> bool:
    """Whether the payload matches its CRC; reads it a window at a time."""
    crc, offset, end = 0, chunk.payload_offset, chunk.end - CRC.size
    while offset < end:
        part = source.read_at(offset, min(WINDOW, end - offset))
        if not part:
            return False
        crc, offset = zlib.crc32(part, crc), offset + len(part)
    return source.read_at(end, CRC.size) == CRC.pack(crc)


def read_payload(source: ByteSource, chunk: Chunk) -> bytes:
    """The payload of a chunk; CorruptFileError when it is cut short or does not match its CRC."""
    if not source.has(chunk.end):
        raise CorruptFileError(f"{chunk} is cut short")
    stored = source.read_at(chunk.payload_offset, chunk.length + CRC.size)
    payload = stored[: chunk.length]
    if stored[chunk.length :] != CRC.pack(zlib.crc32(payload)):
        raise CorruptFileError(f"{chunk} is damaged (CRC mismatch)")
    return payload


def walk(source: ByteSource, offset: int, note: Note) -> Iterator[Chunk]:
    """Every complete chunk from `offset` on, in order, past damage. Payload CRCs are the caller's to check.

    UnsupportedError for a critical chunk of unknown type, LimitError for one that is too long.
    """
    searched = 0
    while source.has(offset + 1):
        chunk = chunk_at(source, offset)
        if chunk is None:
            note(f"no valid chunk at offset {offset}")
            chunk = _search(source, offset + 1)
        elif not source.has(chunk.end):
            note(f"{chunk} is cut short")
            chunk = _search(source, chunk.payload_offset)
        else:
            if chunk.kind not in MOST and chunk.kind[0].isupper():
                raise UnsupportedError(f"{chunk} is needed to decode, and this version does not know it")
            yield chunk
            # Lost or added bytes inside a payload: the next chunk is not where the length says. Going back into what
            # was searched once already would let a file of nothing but chunk prefixes take quadratic time.
            back = (
                chunk.offset >= searched
                and source.has(chunk.end + 1)
                and chunk_at(source, chunk.end) is None
                and not is_intact(source, chunk)
            )
            searched = chunk.end if back else searched
            offset = chunk.payload_offset if back else chunk.end
            continue
        if chunk is None:
            return
        offset = chunk.offset


def _parse(raw: bytes, offset: int) -> Chunk | None:
    if len(raw) < PREFIX_BYTES:
        return None
    kind, length = PREFIX.unpack_from(raw)
    if raw[PREFIX.size : PREFIX_BYTES] != CRC.pack(zlib.crc32(raw[: PREFIX.size])) or not kind.isalpha():
        return None
    name = kind.decode("ascii")
    limits.check(f"the length of the {name} chunk at offset {offset}", length, MOST.get(name, MAX_UNKNOWN_BYTES))
    return Chunk(name, offset, length)


def _search(source: ByteSource, offset: int) -> Chunk | None:
    """The next chunk of a known type that begins at `offset` or later."""
    size = SEARCH_BYTES
    while True:
        window = source.read_at(offset, size + PREFIX_BYTES - 1)
        for match in _KNOWN.finditer(window):
            at = match.start()
            if chunk := _parse(window[at : at + PREFIX_BYTES], offset + at):
                return chunk
        if len(window) < size + PREFIX_BYTES - 1:
            return None
        offset += size
        size = min(2 * size, WINDOW)
        source.forget(offset)
