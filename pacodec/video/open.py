"""What reads a source: FFmpeg, Pillow, or a file after the other."""

import os
from fractions import Fraction
from pathlib import Path

from pacodec.errors import FileAccessError, UsageError
from pacodec.video.demuxer import FfmpegSource
from pacodec.video.sequence import SequenceSource, is_pattern
from pacodec.video.source import FrameSource, Source, source_name

_HEAD_BYTES = 12


def open_frame_source(source: Source, frame_rate: Fraction | None = None) -> FrameSource:
    """Open a video, an animated image, or a sequence of pictures, which `frame_rate` (frames/s) is for.

    Raises the exceptions of the kind that it is; UsageError for a frame rate where the source has times of its own.
    """
    if isinstance(source, str | os.PathLike) and is_pattern(os.fspath(source)):
        return SequenceSource(os.fspath(source), frame_rate, open_frame_source)
    if frame_rate is not None:
        raise UsageError(f"{source_name(source)}: has times of its own; a frame rate is for sequences of pictures")
    head = _head(source)
    if head[:4] == b"RIFF" and head[8:] == b"WEBP":
        from pacodec.video.animation import WebpSource  # Pillow is for nothing else

        return WebpSource(source)
    return FfmpegSource(source)


def _head(source: Source) -> bytes:
    """The first bytes of a source, which stay to be read; none where they cannot be had."""
    try:
        if isinstance(source, str | os.PathLike):
            path = Path(source)
            if not path.is_file():
                return b""  # reading would wait for, or take from, a pipe
            with path.open("rb") as file:
                return file.read(_HEAD_BYTES)
        if source.seekable():
            here = source.tell()
            head = source.read(_HEAD_BYTES)
            source.seek(here)
            return head
        peek = getattr(source, "peek", None)
        return bytes(peek(_HEAD_BYTES)[:_HEAD_BYTES]) if peek is not None else b""
    except (OSError, ValueError) as error:
        raise FileAccessError(f"{source_name(source)}: {getattr(error, 'strerror', None) or error}") from error
