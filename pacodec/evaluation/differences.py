"""The trivial lossless codec that exact repetition makes strong: zstd or xz of what changed from frame to frame."""

import lzma
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import IO, Literal, Protocol

import numpy as np
import zstandard

from pacodec.common.media import Image
from pacodec.evaluation.clips import Clip
from pacodec.evaluation.codecs import Encoded


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


@dataclass(frozen=True)
class DifferencesCodec:
    """A general compressor on each frame's RGB values minus those of the frame before, modulo 256.

    The `level` of xz is the extreme one of that number.
    """

    level: int = 19
    program: Literal["zstd", "xz"] = "zstd"

    def encode(self, clip: Clip) -> Encoded:
        """One packet."""
        compressor = self._compressor()
        last: Image = np.zeros((clip.height, clip.width, 3), np.uint8)
        parts: list[bytes] = []
        for rgb in clip.stream():
            parts.append(compressor.compress((rgb - last).tobytes()))
            last = rgb
        return Encoded([b"".join([*parts, compressor.flush()])])

    def decode(self, clip: Clip, packets: list[bytes]) -> Iterator[Image]:
        """The frames, exact."""
        last: Image = np.zeros((clip.height, clip.width, 3), np.uint8)
        with self._reader(packets[0]) as reader:
            for _ in range(clip.frames):
                last = last + np.frombuffer(reader.read(last.size), np.uint8).reshape(last.shape)
                yield last

    def identity(self) -> str:
        """The version of zstd; that of xz is of no consequence."""
        return ".".join(map(str, zstandard.ZSTD_VERSION)) if self.program == "zstd" else "xz"

    def _compressor(self) -> _Compressor:
        if self.program == "xz":
            return lzma.LZMACompressor(preset=self.level | lzma.PRESET_EXTREME)
        return zstandard.ZstdCompressor(level=self.level).compressobj()

    def _reader(self, data: bytes) -> IO[bytes]:
        if self.program == "xz":
            return lzma.open(BytesIO(data))
        return zstandard.ZstdDecompressor().stream_reader(data)
