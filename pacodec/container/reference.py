"""The REFR chunk: the recording that a file's GOPs begin after, stored so that one damaged place costs nothing.

Its payload is the segments one after the other, and then their parity. The header has its size and checksum, and it
follows the HEAD chunk, so it is found even where its own first bytes are damaged.
"""

import zlib
from collections.abc import Sequence
from itertools import accumulate, pairwise

from pacodec.container import chunks
from pacodec.container.byte_source import ByteSource
from pacodec.container.chunks import Chunk
from pacodec.container.header import Header, ReferenceInfo
from pacodec.container.parity import parity_bytes, parity_of, repaired
from pacodec.errors import CorruptFileError


def describe_reference(segments: Sequence[tuple[int, bytes]]) -> ReferenceInfo:
    """What the header says of segments, each its frames and its bytes."""
    data = b"".join(part for _, part in segments)
    return ReferenceInfo(len(data), zlib.crc32(data), tuple((frames, len(part)) for frames, part in segments))


def pack_reference(segments: Sequence[bytes]) -> bytes:
    """The payload of a reference chunk that holds these segments."""
    data = b"".join(segments)
    return data + parity_of(data)


def reference_chunk(header: Header, head: Chunk) -> Chunk | None:
    """Where the chunk is in a file with this header, None where it has none."""
    if header.reference is None:
        return None
    size = header.reference.size
    return Chunk(chunks.REFERENCE, head.end, size + parity_bytes(size))


def read_reference(source: ByteSource, header: Header, head: Chunk) -> list[bytes]:
    """The segments, repaired where need be; none where the header names no reference. CorruptFileError where lost."""
    chunk, info = reference_chunk(header, head), header.reference
    if chunk is None or info is None:
        return []
    stored = source.read_at(chunk.payload_offset, chunk.length)
    if len(stored) < chunk.length:
        raise CorruptFileError("the reference of its GOPs is cut short, nothing can be decoded without it")
    data: bytes | None = stored[: info.size]
    if zlib.crc32(stored[: info.size]) != info.crc:
        data = repaired(stored[: info.size], stored[info.size :], lambda candidate: zlib.crc32(candidate) == info.crc)
    if data is None:
        raise CorruptFileError(
            "the reference of its GOPs is damaged in more than one place, nothing can be decoded without it"
        )
    ends = [0, *accumulate(length for _, length in info.segments)]
    return [data[start:end] for start, end in pairwise(ends)]
