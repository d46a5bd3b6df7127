"""Byte strings stored raw or as one zstd frame, whichever is smaller; a first byte says which."""

import zstandard

from pacodec.errors import CorruptFileError, LimitError

RAW, ZSTD = b"\x00", b"\x01"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
MAX_WINDOW = 1 << 23
"""Bytes of history that a zstd frame may ask its decoder to hold."""
LEVEL = 19


def squeeze(data: bytes) -> bytes:
    """`data` behind one byte that says how it is stored."""
    packed = zstandard.ZstdCompressor(level=LEVEL).compress(data)
    return ZSTD + packed if len(packed) < len(data) else RAW + data


def unsqueeze(data: bytes, name: str, most: int) -> bytes:
    """The bytes that `squeeze` was given. `name` is what errors call them; they may be `most` bytes.

    LimitError when they declare more, CorruptFileError for a broken frame or bytes after it.
    """
    kind, body = data[:1], data[1:]
    if kind == RAW:
        size = len(body)
    elif kind == ZSTD and body[:4] == ZSTD_MAGIC:
        size = _declared_size(body, name)
    else:
        raise CorruptFileError(f"{name} are neither raw nor zstd")
    if size > most:
        raise LimitError(f"{name} declare {size} bytes, at most {most} are possible")
    if kind == RAW:
        return body
    # The one-shot call never writes past the declared size, whatever the blocks of a lying frame hold.
    try:
        return zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).decompress(body, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise CorruptFileError(f"{name} do not decompress: {error}") from None


def _declared_size(body: bytes, name: str) -> int:
    try:
        frame = zstandard.get_frame_parameters(body)
    except zstandard.ZstdError as error:
        raise CorruptFileError(f"{name} do not decompress: {error}") from None
    # An empty frame would be returned without a look at what follows it; the raw form is shorter anyway.
    if frame.content_size in (0, zstandard.CONTENTSIZE_UNKNOWN):
        raise CorruptFileError(f"{name} do not declare their size")
    if frame.window_size > max(MAX_WINDOW, frame.content_size):
        raise LimitError(f"{name} ask for a zstd window of {frame.window_size} bytes, allowed are {MAX_WINDOW}")
    return int(frame.content_size)
