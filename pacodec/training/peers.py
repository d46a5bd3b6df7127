"""What general methods take for held-out frames, beside which the engine is shown."""

import lzma
from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np
import zstandard
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray

from pacodec.common.grids import Grids

_ZSTD_LEVEL = 19
_XZ_LEVEL = 9 | lzma.PRESET_EXTREME
_MOVIES = {
    "x264 lossless": ("libx264rgb", "rgb24", {"qp": "0", "preset": "medium"}),
    "WebP lossless": ("libwebp_anim", "bgra", {"lossless": "1", "compression_level": "6"}),
}
"""Encoder of FFmpeg, its pixel format and options."""


def peers(clips: Sequence[Grids], palette: NDArray[np.uint8]) -> dict[str, int]:
    """Bytes by method, all lossless for pictures of the palette; `clips` are uint8 [T, 1, h, w] each.

    zstd and xz compress the differences of successive grids; x264 and animated WebP code the pictures in RGB.
    """
    differences = b"".join(np.diff(grids, axis=0, prepend=np.zeros_like(grids[:1])).tobytes() for grids in clips)
    sizes = {
        "zstd -19": len(zstandard.ZstdCompressor(_ZSTD_LEVEL).compress(differences)),
        "xz -9e": len(lzma.compress(differences, preset=_XZ_LEVEL)),
    }
    for name, (encoder, pixels, options) in _MOVIES.items():
        if encoder in av.codecs_available:
            sizes[name] = sum(_movie(palette[grids[:, 0]], encoder, pixels, options) for grids in clips)
    return sizes


def _movie(pictures: NDArray[np.uint8], encoder: str, pixels: str, options: dict[str, str]) -> int:
    coder = av.CodecContext.create(encoder, "w")
    assert isinstance(coder, VideoCodecContext)
    coder.height, coder.width = pictures.shape[1:3]
    coder.pix_fmt, coder.time_base, coder.options = pixels, Fraction(1, 30), options
    size = 0
    for number, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24").reformat(format=pixels)
        frame.pts = number
        size += sum(packet.size for packet in coder.encode(frame))
    return size + sum(packet.size for packet in coder.encode(None))
