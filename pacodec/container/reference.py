"""The REFR chunk: the recording that a file's GOPs begin after, stored so that one damaged place costs nothing.

Its payload is the segments one after the other, in `BLOCKS` blocks of equal length (the last one filled up with zeros
that are not stored), and then the exclusive or of all blocks. The header has its size and checksum, and it follows the
HEAD chunk, so it is found even where its own first bytes are damaged. A block that is damaged is the exclusive or of
the others; which one it is, the checksum tells.
"""

import zlib
from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from pacodec.container import chunks
from pacodec.container.byte_source import ByteSource
from pacodec.container.chunks import Chunk
from pacodec.container.header import Header, ReferenceInfo
from pacodec.errors import CorruptFileError

BLOCKS = 32


def describe_reference(segments: Sequence[tuple[int, bytes]]) -> ReferenceInfo:
    """What the header says of segments, each its frames and its bytes."""
    data = b"".join(part for _, part in segments)
    return ReferenceInfo(len(data), zlib.crc32(data), tuple((frames, len(part)) for frames, part in segments))


def pack_reference(segments: Sequence[bytes]) -> bytes:
    """The payload of a reference chunk that holds these segments."""
    data = b"".join(segments)
    parity = np.bitwise_xor.reduce(_blocks(data), axis=0)
    return data + bytes(parity.tobytes())


def reference_chunk(header: Header, head: Chunk) -> Chunk | None:
    """Where the chunk is in a file with this header, None where it has none."""
    if header.reference is None:
        return None
    size = header.reference.size
    return Chunk(chunks.REFERENCE, head.end, size + _block_bytes(size))


def read_reference(source: ByteSource, header: Header, head: Chunk) -> list[bytes]:
    """The segments, repaired where need be; none where the header names no reference. CorruptFileError where lost."""
    chunk, info = reference_chunk(header, head), header.reference
    if chunk is None or info is None:
        return []
    stored = source.read_at(chunk.payload_offset, chunk.length)
    if len(stored) < chunk.length:
        raise CorruptFileError("the reference of its GOPs is cut short, nothing can be decoded without it")
    data, parity = stored[: info.size], np.frombuffer(stored[info.size :], np.uint8)
    if zlib.crc32(data) != info.crc:
        data = _repaired(data, parity, info.crc)
    ends = [0, *accumulate(length for _, length in info.segments)]
    return [data[start:end] for start, end in pairwise(ends)]


def _repaired(data: bytes, parity: NDArray[np.uint8], crc: int) -> bytes:
    blocks = _blocks(data)
    missing = np.bitwise_xor.reduce(blocks, axis=0) ^ parity
    for block in blocks:
        block ^= missing
        repaired = blocks.tobytes()[: len(data)]
        if zlib.crc32(repaired) == crc:
            return repaired
        block ^= missing
    raise CorruptFileError(
        "the reference of its GOPs is damaged in more than one place, nothing can be decoded without it"
    )


def _block_bytes(size: int) -> int:
    return -(-size // BLOCKS)


def _blocks(data: bytes) -> NDArray[np.uint8]:
    """uint8 [BLOCKS, n], filled up with zeros."""
    length = _block_bytes(len(data))
    padded = np.zeros(BLOCKS * length, np.uint8)
    padded[: len(data)] = np.frombuffer(data, np.uint8)
    return padded.reshape(BLOCKS, length)
