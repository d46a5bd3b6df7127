"""What a predictor takes for held-out frames, beside what general methods take for the same ones."""

import lzma
import math
from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np
import zstandard
from numpy.typing import NDArray

from pacodec.learning.clips import CodeClip
from pacodec.predictors.blocks import BLOCK

_ZSTD_LEVEL = 19


def flag_bits(clips: Sequence[CodeClip], surprises: float) -> float:
    """Bits a frame that tell which blocks surprise, `surprises` of them a frame, coded without regard to where."""
    total = sum(math.prod(-(-side // BLOCK) for side in clip.shape) * len(clip) for clip in clips)
    blocks = total / sum(map(len, clips))
    share = surprises / blocks
    if not 0 < share < 1:
        return 0.0
    return -blocks * (share * math.log2(share) + (1 - share) * math.log2(1 - share))


def peers(clips: Sequence[CodeClip], palette: NDArray[np.uint8]) -> dict[str, float]:
    """Bits a frame by method, all lossless for pictures of the palette: frames after the first of each clip.

    zstd and xz compress the differences of successive grids; x264 codes the pictures in RGB at qp 0.
    """
    grids = [np.stack(list(clip)) for clip in clips]
    frames = sum(len(clip) - 1 for clip in clips)
    if not frames:
        return {}
    differences = b"".join((clip[1:] - clip[:-1]).tobytes() for clip in grids)
    sizes = {
        "zstd -19": len(zstandard.ZstdCompressor(_ZSTD_LEVEL).compress(differences)),
        "xz": len(lzma.compress(differences)),
        "x264 lossless": sum(_x264(palette[clip]) for clip in grids),
    }
    return {name: round(8 * size / frames, 1) for name, size in sizes.items()}


def _x264(pictures: NDArray[np.uint8]) -> int:
    """Bytes of all frames but the first."""
    coder = av.CodecContext.create("libx264rgb", "w")
    coder.height, coder.width = pictures.shape[1:3]
    coder.pix_fmt, coder.time_base = "rgb24", Fraction(1, 30)
    coder.options = {"qp": "0", "preset": "medium"}
    packets = [packet for picture in pictures for packet in coder.encode(_frame(picture))] + coder.encode(None)
    return sum(packet.size for packet in packets) - packets[0].size


def _frame(picture: NDArray[np.uint8]) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
