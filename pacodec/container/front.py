"""The front of a file, without which nothing can be decoded: its preamble and HEAD chunk, and their copy at the end.

The payload of the copy, a head chunk that the index points at: the 32 bytes of the preamble, then HEAD's payload.
"""

from dataclasses import dataclass

from pacodec import limits
from pacodec.container import chunks, mapping
from pacodec.container.chunks import Chunk
from pacodec.container.header import Header
from pacodec.container.preamble import PREAMBLE_BYTES, pack_preamble, unpack_preamble
from pacodec.container.source import SizedSource, Source
from pacodec.errors import CorruptFileError, LimitError

COPY_SHARE = 100
"""A copy is written where the file before it is this many times as long."""
HEAD_KEY = "head"
"""Of the index: where the copy is."""


@dataclass(frozen=True)
class Front:
    """Declared frames (0 = unknown), the header, and the HEAD chunk that holds it."""

    frames: int
    header: Header
    head: Chunk


def read_front(source: Source) -> Front:
    """The front of a file; CorruptFileError, UnsupportedError or LimitError where it is not usable."""
    frames = unpack_preamble(source.read_at(0, PREAMBLE_BYTES))
    head = chunks.chunk_at(source, PREAMBLE_BYTES)
    if head is None or head.kind != chunks.HEAD:
        raise CorruptFileError("the header is damaged or missing, nothing can be decoded without it")
    return Front(frames, Header.from_msgpack(chunks.read_payload(source, head)), head)


def pack_front(frames: int, header: bytes) -> bytes:
    """The payload of the copy, of the payload of HEAD."""
    return pack_preamble(frames) + header


def unpack_front(payload: bytes) -> Front:
    """The front that a copy repeats, the HEAD chunk where it was; raises as `read_front`."""
    frames, header = unpack_preamble(payload[:PREAMBLE_BYTES]), payload[PREAMBLE_BYTES:]
    return Front(frames, Header.from_msgpack(header), Chunk(chunks.HEAD, PREAMBLE_BYTES, len(header)))


def index_chunk(source: SizedSource) -> Chunk | None:
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


def recover_front(source: SizedSource) -> Front | None:
    """The front from its copy; None where the file has none that can be read. UnsupportedError for a newer version."""
    try:
        index = index_chunk(source)
        if index is None:
            return None
        values = mapping.unpack_map(chunks.read_payload(source, index), "index", limits.MAX_INDEX_BYTES)
        position = mapping.field(values, HEAD_KEY, int, "index")
        copy = chunks.chunk_at(source, position) if PREAMBLE_BYTES <= position < index.offset else None
        if copy is None or copy.kind != chunks.FRONT or copy.end > index.offset:
            return None
        return unpack_front(chunks.read_payload(source, copy))
    except (CorruptFileError, LimitError):
        return None
