"""A few frames from all over a video file, to learn a palette or a scale from."""

import os
from contextlib import closing
from fractions import Fraction

import av

from pacodec.common.media import Image
from pacodec.errors import CorruptFileError
from pacodec.video.color import RgbConverter
from pacodec.video.demuxer import FfmpegSource
from pacodec.video.open import open_frame_source
from pacodec.video.source import FrameSource, source_name


def sample_frames(path: str | os.PathLike[str], n: int, frame_rate: Fraction | None = None) -> list[Image]:
    """Up to `n` frames spread over the whole file or sequence, in order, uint8 [H, W, 3], each of the first one's size.

    Seeks, and so takes about as long for an hour as for a minute; decodes the whole file only where seeking yields
    too little (raw streams, one keyframe) or is not possible. Gives fewer where the file has fewer.

    Raises:
        FileAccessError, UsageError, CorruptFileError, UnsupportedError, LimitError: as `VideoReader`.
    """
    footage = open_frame_source(path, frame_rate)
    with closing(footage):
        frames = footage.seek_samples(n) if isinstance(footage, FfmpegSource) else []
    if len(frames) < n:
        with closing(open_frame_source(path, frame_rate)) as footage:
            frames = _by_decoding(footage, n)
    if not frames:
        raise CorruptFileError(f"{source_name(path)}: no frame of it can be decoded")
    to_rgb = RgbConverter(frames[0].width, frames[0].height)
    return [to_rgb(frame) for frame in frames]


def _by_decoding(footage: FrameSource, n: int) -> list[av.VideoFrame]:
    """Every 2^k-th frame, k being such that n to 2n - 1 remain, thinned to n."""
    kept: list[av.VideoFrame] = []
    stride = 1
    frames = (event for event in footage.events() if isinstance(event, av.VideoFrame))
    for number, frame in enumerate(frames):
        if number % stride == 0:
            kept.append(frame)
        if len(kept) == 2 * n:
            kept, stride = kept[::2], 2 * stride
    return [kept[k * len(kept) // n] for k in range(n)] if len(kept) > n else kept
