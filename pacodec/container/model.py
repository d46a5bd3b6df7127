"""The modl chunk, the model file that a file carries, and its parity, the modp chunk behind it.

The header of a file that has a parity says how long the model is, so that both are found even where the first bytes of
the modl chunk are damaged, and names its sha256, which tells what is right.
"""

import hashlib

from pacodec.container import chunks
from pacodec.container.byte_source import ByteSource
from pacodec.container.chunks import Chunk, Note
from pacodec.container.header import Header, ModelRef
from pacodec.container.parity import parity_bytes, repaired
from pacodec.container.reference import reference_chunk
from pacodec.errors import CorruptFileError


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
