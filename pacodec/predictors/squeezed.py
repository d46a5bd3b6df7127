"""Bytes through zstd, with every size held to what the reader expects."""

import struct

import numpy as np
import zstandard
from numpy.typing import NDArray

from pacodec.container.squeeze import ZSTD_MAGIC
from pacodec.errors import CorruptFileError
from pacodec.grids import GridSpec

LEVEL = 19
_SIZE = struct.Struct("<I")
WINDOW_BITS = 23
"""8 MiB: some hundred grids back, and all the memory that a hostile frame can make the decoder take."""
_BLOCK_HEADER_BYTES, _CHECKSUM_BYTES = 3, 4
_RUN = 1
"""The type of a block that is one byte, repeated."""


def stream_compressor() -> "zstandard.ZstdCompressionObj":
    """A compressor to feed piece by piece; its output does not depend on where the pieces are cut."""
    parameters = zstandard.ZstdCompressionParameters.from_level(LEVEL, window_log=WINDOW_BITS, write_checksum=False)
    return zstandard.ZstdCompressor(compression_params=parameters).compressobj()


def compress(data: bytes) -> bytes:
    """One zstd frame of `data`, without its size or a checksum: both are known elsewhere."""
    compressor = stream_compressor()
    return compressor.compress(data) + compressor.flush()


def pack_first(grid: NDArray[np.uint8]) -> bytes:
    """A GOP's first grid, uint8 [C, h, w], as a payload holds it: uint32 (little-endian) size of a frame, the frame."""
    frame = compress(grid.tobytes())
    return _SIZE.pack(len(frame)) + frame


def unpack_first(payload: bytes, spec: GridSpec, name: str) -> tuple[NDArray[np.uint8], bytes]:
    """The grid that a payload of predictor `name` begins with, uint8 [C, h, w], and what follows it.

    CorruptFileError where there is none.
    """
    if len(payload) < _SIZE.size:
        raise CorruptFileError(f"the payload of {name} codes is shorter than its first field")
    (size,) = _SIZE.unpack_from(payload)
    rest = payload[_SIZE.size :]
    if size > len(rest):
        raise CorruptFileError(f"the payload of {name} codes declares a first grid of {size} bytes, has fewer")
    reader = BoundedReader(rest[:size])
    codes = np.frombuffer(reader.read(spec.size), np.uint8)
    reader.finish()
    return codes.reshape(spec.channels, spec.height, spec.width), rest[size:]


class BoundedReader:
    """Reads what `stream_compressor` wrote, exactly as many bytes as asked for."""

    def __init__(self, payload: bytes) -> None:
        decompressor = zstandard.ZstdDecompressor(max_window_size=1 << WINDOW_BITS)
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
