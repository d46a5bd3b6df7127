"""The trivial lossless codec that exact repetition makes strong: zstd of what changed from frame to frame."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import zstandard

from pacodec.evaluation.clips import Clip
from pacodec.evaluation.codecs import Encoded
from pacodec.media import Image


@dataclass(frozen=True)
class DifferencesCodec:
    """zstd of each frame's RGB values minus those of the frame before, modulo 256."""

    level: int = 19

    def encode(self, clip: Clip) -> Encoded:
        """One packet."""
        compressor = zstandard.ZstdCompressor(level=self.level).compressobj()
        last: Image = np.zeros((clip.height, clip.width, 3), np.uint8)
        parts: list[bytes] = []
        for rgb in clip.stream():
            parts.append(compressor.compress((rgb - last).tobytes()))
            last = rgb
        return Encoded([b"".join([*parts, compressor.flush()])])

    def decode(self, clip: Clip, packets: list[bytes]) -> Iterator[Image]:
        """The frames, exact."""
        last: Image = np.zeros((clip.height, clip.width, 3), np.uint8)
        with zstandard.ZstdDecompressor().stream_reader(packets[0]) as reader:
            for _ in range(clip.frames):
                last = last + np.frombuffer(reader.read(last.size), np.uint8).reshape(last.shape)
                yield last

    def identity(self) -> str:
        """The version of zstd."""
        return ".".join(map(str, zstandard.ZSTD_VERSION))
