"""What follows a file's header: the REFR chunk, and the modl chunk with its parity, the modp chunk.

REFR is the recording that the file's GOPs begin after: its segments one after the other, and then their parity. modl is
the model file that a file carries. The header has the size of each and what tells whether its bytes are right, so they
are found and repaired even where their own first bytes are damaged.

A parity is the exclusive or of 32 blocks of equal length, the last ones filled up with zeros that are not stored: a
block that is damaged is the exclusive or of the others and of the parity; which one it is, the checksum of the whole
tells. So one damaged place costs nothing.
"""

import hashlib
import zlib
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from pacodec.container import chunks
from pacodec.container.byte_source import ByteSource
from pacodec.container.chunks import Chunk, Note
from pacodec.container.header import Header, ModelRef, ReferenceInfo
from pacodec.errors import CorruptFileError

BLOCKS = 32


def parity_bytes(size: int) -> int:
    """Bytes of the parity of `size` bytes."""
    return -(-size // BLOCKS)


def parity_of(data: bytes) -> bytes:
    """The exclusive or of the blocks of some bytes."""
    return bytes(np.bitwise_xor.reduce(_blocks(data), axis=0).tobytes())


def repaired(data: bytes, parity: bytes, is_right: Callable[[bytes], bool]) -> bytes | None:
    """What `data` were before one block of them was damaged; None where no block makes them right."""
    blocks = _blocks(data)
    missing = np.bitwise_xor.reduce(blocks, axis=0) ^ np.frombuffer(parity, np.uint8)
    for block in blocks:
        block ^= missing
        candidate = blocks.tobytes()[: len(data)]
        if is_right(candidate):
            return candidate
        block ^= missing
    return None


def _blocks(data: bytes) -> NDArray[np.uint8]:
    """uint8 [BLOCKS, n], filled up with zeros."""
    length = parity_bytes(len(data))
    padded = np.zeros(BLOCKS * length, np.uint8)
    padded[: len(data)] = np.frombuffer(data, np.uint8)
    return padded.reshape(BLOCKS, length)


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


def front_end(header: Header, head: Chunk) -> int:
    """The offset after the HEAD chunk and the reference that follows it, if there is one."""
    reference = reference_chunk(header, head)
    return head.end if reference is None else reference.end


def find_model(source: ByteSource, header: Header, head: Chunk) -> Chunk | None:
    """The chunk of the embedded model, which only ever follows the front."""
    if header.model is None:
        # From a pipe, the first GOP is not waited for.
        return None
    at = front_end(header, head)
    if header.model.size is not None:
        return Chunk(chunks.MODEL, at, header.model.size)
    chunk = chunks.chunk_at(source, at)
    return chunk if chunk is not None and chunk.kind == chunks.MODEL else None


def model_end(header: Header, head: Chunk, model: Chunk | None) -> int:
    """The offset after the front and all that belongs to the embedded model, if there is one."""
    if model is None:
        return front_end(header, head)
    parity = _parity_chunk(header.model, model)
    return model.end if parity is None else parity.end


def read_model(source: ByteSource, header: Header, chunk: Chunk | None, note: Note) -> bytes | None:
    """The embedded model of a chunk, if there is one, repaired where need be; None, with a note, when it is lost."""
    try:
        return None if chunk is None else chunks.read_payload(source, chunk)
    except CorruptFileError as error:
        found = None if chunk is None or header.model is None else _repaired(source, header.model, chunk)
        if found is None:
            note(f"{error}; only an installed copy of the model can stand in for it")
        return found


def _parity_chunk(model: ModelRef | None, chunk: Chunk) -> Chunk | None:
    if model is None or model.size is None:
        return None
    return Chunk(chunks.MODEL_PARITY, chunk.end, parity_bytes(model.size))


def _repaired(source: ByteSource, model: ModelRef, chunk: Chunk) -> bytes | None:
    def is_right(candidate: bytes) -> bool:
        return hashlib.sha256(candidate).digest() == model.sha256

    stored = source.read_at(chunk.payload_offset, chunk.length)
    if is_right(stored):
        return stored
    parity_chunk = _parity_chunk(model, chunk)
    if parity_chunk is None:
        return None
    parity = source.read_at(parity_chunk.payload_offset, parity_chunk.length)
    if len(stored) < chunk.length or len(parity) < parity_chunk.length:
        return None
    return repaired(stored, parity, is_right)
