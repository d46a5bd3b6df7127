"""zstd with every size held to what the reader expects: whole byte strings, and streams of pieces."""

import zstandard

from pacodec.errors import CorruptFileError, LimitError

RAW, ZSTD = b"\x00", b"\x01"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
WINDOW_BITS = 23
"""8 MiB of history that a frame may ask its decoder to hold: all the memory that a hostile one can make it take."""
MAX_WINDOW = 1 << WINDOW_BITS
LEVEL = 19
_BLOCK_HEADER_BYTES, _CHECKSUM_BYTES = 3, 4
_RUN = 1
"""The type of a block that is one byte, repeated."""


def pack(data: bytes) -> bytes:
    """`data` raw or as one zstd frame, whichever is smaller, behind one byte that says which."""
    packed = zstandard.ZstdCompressor(level=LEVEL).compress(data)
    return ZSTD + packed if len(packed) < len(data) else RAW + data


def unpack(data: bytes, name: str, most: int) -> bytes:
    """The bytes that `pack` was given. `name` is what errors call them; they may be `most` bytes.

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


def stream_compressor(level: int) -> "zstandard.ZstdCompressionObj":
    """A compressor to feed piece by piece; its output does not depend on where the pieces are cut."""
    parameters = zstandard.ZstdCompressionParameters.from_level(level, window_log=WINDOW_BITS, write_checksum=False)
    return zstandard.ZstdCompressor(compression_params=parameters).compressobj()


class StreamReader:
    """Reads what `stream_compressor` wrote, exactly as many bytes as asked for."""

    def __init__(self, payload: bytes) -> None:
        decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
        self._payload = payload
        self._reader = decompressor.stream_reader(payload, read_across_frames=False)

    def read(self, size: int) -> bytes:
        """The next `size` bytes; CorruptFileError where the payload is damaged or holds fewer."""
        parts, missing = [], size
        try:
            while missing and (part := self._reader.read(missing)):
                parts.append(part)
                missing -= len(part)
        except zstandard.ZstdError as error:
            raise CorruptFileError(f"zstd data is invalid: {error}") from error
        if missing:
            raise CorruptFileError(f"zstd data ends {missing} bytes before the end of {size}")
        return b"".join(parts)

    def finish(self) -> None:
        """Raise CorruptFileError where the payload is not one frame of what was asked for, and nothing else."""
        try:
            more = self._reader.read(1)
        except zstandard.ZstdError as error:
            raise CorruptFileError(f"zstd data is invalid at its end: {error}") from error
        if more:
            raise CorruptFileError("zstd data goes on after its last grid")
        if _frame_size(self._payload) != len(self._payload):
            raise CorruptFileError("zstd data is not one frame that nothing follows")


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


def _frame_size(payload: bytes) -> int:
    """Bytes of the zstd frame that a payload begins with (RFC 8878, section 3.1.1); 0 where it is none or is cut.

    The decompressor stops at the end of a frame, but does not tell where that is.
    """
    if payload[:4] != ZSTD_MAGIC:
        return 0
    at, last = zstandard.frame_header_size(payload), False
    while not last:
        header = int.from_bytes(payload[at : at + _BLOCK_HEADER_BYTES], "little")
        last = bool(header & 1)
        at += _BLOCK_HEADER_BYTES + (1 if header >> 1 & 3 == _RUN else header >> 3)
        if at > len(payload):
            return 0
    return at + (_CHECKSUM_BYTES if zstandard.get_frame_parameters(payload).has_checksum else 0)
