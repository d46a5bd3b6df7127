"""Bytes through zstd, with every size held to what the reader expects."""

import zstandard

from pacodec.errors import CorruptFileError

LEVEL = 19
WINDOW_BITS = 23
"""8 MiB: some hundred grids back, and all the memory that a hostile frame can make the decoder take."""


def stream_compressor() -> "zstandard.ZstdCompressionObj":
    """A compressor to feed piece by piece; its output does not depend on where the pieces are cut."""
    parameters = zstandard.ZstdCompressionParameters.from_level(LEVEL, window_log=WINDOW_BITS, write_checksum=False)
    return zstandard.ZstdCompressor(compression_params=parameters).compressobj()


def compress(data: bytes) -> bytes:
    """One zstd frame of `data`, without its size or a checksum: both are known elsewhere."""
    compressor = stream_compressor()
    return compressor.compress(data) + compressor.flush()


class BoundedReader:
    """Reads what `stream_compressor` wrote, exactly as many bytes as asked for."""

    def __init__(self, payload: bytes) -> None:
        decompressor = zstandard.ZstdDecompressor(max_window_size=1 << WINDOW_BITS)
        self._reader = decompressor.stream_reader(payload, read_across_frames=True)

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
        """Raise CorruptFileError where something follows that nobody asked for."""
        try:
            more = self._reader.read(1)
        except zstandard.ZstdError as error:
            raise CorruptFileError(f"zstd data is followed by something else: {error}") from error
        if more:
            raise CorruptFileError("zstd data goes on after its last grid")
