"""Opening what `encode` reads, with one clear error for each way in which that fails, and what every input offers."""

from __future__ import annotations  # av.Packet is generic to a type checker only

import errno
import os
import stat
from collections.abc import Generator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Protocol

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from pacodec import limits
from pacodec.common.media import AudioStream
from pacodec.errors import CorruptFileError, FileAccessError, PacodecError, UnsupportedError

Source = str | os.PathLike[str] | BinaryIO
"""A path, or a binary file object, which need not be seekable."""

DEFAULT_RATE = Fraction(25)
"""Frames/s of a source that does not say."""

_OPTIONS = {
    # A playlist may name local files; it may not make us open connections.
    "protocol_whitelist": "file",
    "max_pixels": str(limits.MAX_PIXELS),
}


def source_name(source: Source) -> str:
    """What messages call a source."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    return str(getattr(source, "name", "input"))


def source_size(source: Source) -> int | None:
    """Bytes of a source, None where it is a stream. FileAccessError or CorruptFileError where a path is of no use."""
    if isinstance(source, str | os.PathLike):
        return _file_size(Path(source))
    if not source.seekable():
        return None
    try:
        here = source.tell()
        size = source.seek(0, os.SEEK_END)
        source.seek(here)
    except OSError as error:
        raise FileAccessError(f"{source_name(source)}: {error.strerror or error}") from error
    return size


def open_video(source: Source) -> tuple[InputContainer, VideoStream]:
    """Open a source and choose its video stream.

    Raises:
        FileAccessError: the file is missing, a directory, or unreadable.
        CorruptFileError: it is empty, not a video, or has no video stream.
        UnsupportedError: this build of FFmpeg has no decoder for it.
    """
    name = source_name(source)
    if source_size(source) == 0:
        raise CorruptFileError(f"{name}: the file is empty")
    # "file:" keeps FFmpeg from taking a name such as "a:b.mp4" for a protocol.
    target = f"file:{os.fspath(source)}" if isinstance(source, str | os.PathLike) else source
    try:
        container = av.open(target, "r", options=_OPTIONS, metadata_errors="replace")
    except (FFmpegError, OSError) as error:
        unreadable = CorruptFileError(f"{name}: not a video that FFmpeg can read{_pipe_hint(source)}")
        raise read_failure(error, name) or unreadable from error
    try:
        return container, _choose(container, name)
    except PacodecError:
        container.close()
        raise


def read_failure(error: Exception, name: str) -> FileAccessError | None:
    """The error to raise if `error` says that the system could not read; None if it says that the data are damaged."""
    if isinstance(error, FFmpegError) and error.errno != errno.EIO:
        return None
    return FileAccessError(f"{name}: {getattr(error, 'strerror', None) or error}")


def _file_size(path: Path) -> int | None:
    try:
        info = path.stat()
        if stat.S_ISREG(info.st_mode):
            with path.open("rb"):
                return info.st_size
    except (OSError, ValueError) as error:
        raise FileAccessError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    if stat.S_ISDIR(info.st_mode):
        raise FileAccessError(f"{path}: is a directory")
    return None


def _pipe_hint(source: Source) -> str:
    if isinstance(source, str | os.PathLike) or source.seekable():
        return ""
    return " from a pipe (an MP4 with its index at the end needs a file)"


def _choose(container: InputContainer, name: str) -> VideoStream:
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        raise CorruptFileError(f"{name}: has no video stream")
    if container.format.name == "tty":
        # FFmpeg would draw any text file as on an old terminal.
        raise CorruptFileError(f"{name}: not a video but text")
    best = container.streams.best("video")
    stream = best if isinstance(best, VideoStream) and best in streams else streams[0]
    if stream.codec_context is None:
        raise UnsupportedError(f"{name}: FFmpeg has no decoder for its video")
    if stream.codec_context.width and stream.codec_context.height:
        limits.check(f"{name}: width", stream.codec_context.width, limits.MAX_SIDE)
        limits.check(f"{name}: height", stream.codec_context.height, limits.MAX_SIDE)
    stream.codec_context.options = {"max_pixels": str(limits.MAX_PIXELS)}
    stream.thread_type = "AUTO"
    return stream


class FrameSource(Protocol):
    """An open video, animated image or sequence of pictures, to be read once."""

    name: str
    """What messages call it."""
    warnings: list[str]
    """What is wrong with it or not carried over, a line each; complete when `events` ends."""
    source_bytes: int | None
    """Bytes of the file or files, None for a stream."""
    frames_hint: int | None
    """How many frames it announces or its duration suggests; None where it says nothing."""
    frame_rate: Fraction | None
    """An average in frames/s, None where unknown."""
    time_base: Fraction
    """Seconds of a tick of the frames' time stamps."""
    pixel_aspect: Fraction | None
    """Width over height of a pixel, None where square or unknown."""
    tracks: dict[int, AudioStream]
    """The audio tracks that are carried over, by `stream_index` of their packets."""

    def events(self) -> Generator[av.VideoFrame | Packet[Stream], None, None]:
        """Decoded frames, and packets of the audio tracks, as the file has them.

        Raises FileAccessError where the system cannot read on; what is damaged is skipped, and ends in `warnings`.
        """

    def close(self) -> None:
        """Release what was opened; a file object that was given stays open."""
