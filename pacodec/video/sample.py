"""A few frames from all over a video file, to learn a palette or a scale from."""

import os
from collections.abc import Iterator
from itertools import islice

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream

from pacodec.errors import CorruptFileError
from pacodec.media import Image
from pacodec.video.color import RgbConverter
from pacodec.video.source import open_video, source_name

# After a seek the decoder stands on a keyframe; going on to the wanted time is worth this many frames, not a long GOP.
_MAX_STEPS = 48


def sample_frames(path: str | os.PathLike[str], n: int) -> list[Image]:
    """Up to `n` frames spread over the whole file, in order, uint8 [H, W, 3] each of the first frame's size.

    Seeks, and so takes about as long for an hour as for a minute; decodes the whole file only where seeking yields
    too little (raw streams, one keyframe). Gives fewer where the file has fewer.

    Raises:
        FileAccessError, CorruptFileError, UnsupportedError, LimitError: as `VideoReader`.
    """
    container, video = open_video(path)
    with container:
        frames = _by_seeking(container, video, n)
    if len(frames) < n:
        container, video = open_video(path)
        with container:
            frames = _by_decoding(container, video, n)
    if not frames:
        raise CorruptFileError(f"{source_name(path)}: no frame of it can be decoded")
    to_rgb = RgbConverter(frames[0].width, frames[0].height)
    return [to_rgb(frame) for frame in frames]


def _by_seeking(container: InputContainer, video: VideoStream, n: int) -> list[av.VideoFrame]:
    """Distinct frames near n evenly spaced times; too few of them where the file cannot be searched that way."""
    start = (container.start_time or 0) / av.time_base
    found: dict[int, av.VideoFrame] = {}
    if not container.duration or not video.time_base:
        return []
    for k in range(n):
        wanted = int((start + container.duration / av.time_base * (k + 0.5) / n) / video.time_base)
        try:
            container.seek(wanted, stream=video)
        except FFmpegError:
            return []
        frame = None
        for frame in islice(_frames(container, video), _MAX_STEPS):
            if frame.pts is None or frame.pts + frame.duration > wanted:
                break
        if frame is not None and frame.pts is not None:
            found[frame.pts] = frame
    return [found[pts] for pts in sorted(found)]


def _by_decoding(container: InputContainer, video: VideoStream, n: int) -> list[av.VideoFrame]:
    """Every 2^k-th frame, k being such that n to 2n - 1 remain, thinned to n."""
    kept: list[av.VideoFrame] = []
    stride = 1
    for number, frame in enumerate(_frames(container, video)):
        if number % stride == 0:
            kept.append(frame)
        if len(kept) == 2 * n:
            kept, stride = kept[::2], 2 * stride
    return [kept[k * len(kept) // n] for k in range(n)] if len(kept) > n else kept


def _frames(container: InputContainer, video: VideoStream) -> Iterator[av.VideoFrame]:
    try:
        for packet in container.demux(video):
            try:
                yield from video.decode(packet)
            except FFmpegError:
                continue  # a damaged frame; there are others
    except FFmpegError:
        return
