"""Writing a video file: RGB pictures as H.264, audio packets as they are."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.error import FFmpegError
from av.packet import Packet

from pacodec.errors import CorruptFileError, FileAccessError, UsageError
from pacodec.media import AudioPacket, Image, VideoFormat
from pacodec.video.audio import add_audio_track, check_audio_codec
from pacodec.video.encoder import Codec, add_video_track
from pacodec.video.sink import Target, VideoSink

_MUXERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
_MAX_TIMESCALE = (1 << 31) - 1


class VideoWriter:
    """Writes frames and audio packets as they come, in memory that does not grow with their number.

    MP4 and MOV keep every time stamp; Matroska rounds to milliseconds, and moves everything up where audio starts
    before time zero. A target that cannot seek gets fragmented MP4.

    Left by an exception, the file is not finished; what has been written is the caller's to remove.

    Args:
        target: a path, which is replaced, or a binary file object (seekable or not), which stays open.
        format: of the video; its colour tags are kept, unless the source was RGB: then BT.709 limited is written.
        container: "mp4", "mov" or "mkv"; by default what the path's suffix says, or else "mp4".
        codec: "h264" (4:2:0, or 4:4:4 where a side is odd) or "lossless" (H.264 that keeps every RGB value).
        crf: quality of "h264", 0 (best) to 51.

    Raises:
        UsageError: unknown container, codec or crf, or the container cannot hold the audio.
        FileAccessError: the target cannot be written.
    """

    def __init__(
        self, target: Target, format: VideoFormat, *, container: str | None = None, codec: Codec = "h264", crf: int = 18
    ) -> None:
        if codec not in ("h264", "lossless"):
            raise UsageError(f"codec {codec!r} is not known: h264 or lossless")
        if not 0 <= crf <= 51:
            raise UsageError(f"crf is {crf}, allowed are 0 to 51")
        muxer = _muxer(target, container)
        for audio in format.audio:
            check_audio_codec(muxer, audio.codec)
        self.format = format
        self._last_pts = -1
        self._sink = VideoSink(target)
        try:
            self._output = av.open(
                self._sink, "w", format=muxer, container_options=_muxer_options(muxer, format, self._sink.seekable())
            )
            self._video, self._to_frame = add_video_track(self._output, format, codec, crf)
            self._audio = [add_audio_track(self._output, audio) for audio in format.audio]
        except BaseException:
            self._sink.abandon()
            raise

    def write_frame(self, rgb: Image, pts: int, duration: int) -> None:
        """Encode one picture, uint8 [H, W, 3], shown from `pts` for `duration` (ticks of the format's time base).

        Raises:
            UsageError: wrong shape or type, `pts` negative or not after the last one, or too close for Matroska.
            FileAccessError: the target cannot be written.
        """
        size = (self.format.height, self.format.width, 3)
        if rgb.shape != size or rgb.dtype != np.uint8:
            raise UsageError(f"a frame is {rgb.dtype} {list(rgb.shape)}, not uint8 {list(size)}")
        if pts <= self._last_pts or duration < 0:
            raise UsageError(
                f"frame at {pts} for {duration} ticks: times must increase, from 0 ({self._last_pts} before)"
            )
        self._last_pts = pts
        frame = self._to_frame(np.ascontiguousarray(rgb))
        frame.pts, frame.duration, frame.time_base = pts, duration, self.format.time_base
        with self._failures(UsageError(f"{self._output.format.name} cannot hold a frame at {pts}")):
            self._output.mux(self._video.encode(frame))

    def write_audio(self, packet: AudioPacket) -> None:
        """Store one audio packet.

        Raises:
            CorruptFileError: no such track, or a time or content that the container refuses.
            FileAccessError: the target cannot be written.
        """
        if packet.stream >= len(self._audio):
            raise CorruptFileError(f"audio packet of track {packet.stream}, but there are {len(self._audio)}")
        coded = Packet(packet.data)
        coded.stream = self._audio[packet.stream]
        coded.time_base = self.format.audio[packet.stream].time_base
        coded.pts, coded.dts, coded.duration = packet.pts, packet.dts, packet.duration
        coded.is_keyframe = packet.keyframe
        with self._failures(CorruptFileError(f"audio packet at {packet.dts} of track {packet.stream} is not valid")):
            self._output.mux_one(coded)

    def close(self) -> None:
        """Finish the file. May be called again. FileAccessError if the target cannot be written."""
        if self._sink.closed:
            return
        with self._failures(UsageError(f"{self._output.format.name} cannot hold the last frames")):
            self._output.mux(self._video.encode(None))
            self._output.close()
            self._sink.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._sink.abandon()

    @contextmanager
    def _failures(self, refused: UsageError | CorruptFileError) -> Iterator[None]:
        """Turn what goes wrong inside into a FileAccessError if the system is at fault, into `refused` otherwise."""
        try:
            yield
        except (FFmpegError, OSError, ValueError) as error:
            self._sink.abandon()
            # The sink is a Python object: what the system refuses comes back as a plain OSError, not as FFmpeg's.
            if isinstance(error, FFmpegError) or not isinstance(error, OSError):
                raise refused from error
            raise FileAccessError(f"{self._sink.name}: cannot write: {error.strerror or error}") from error


def _muxer(target: Target, container: str | None) -> str:
    if container is not None:
        suffix = f".{container}"
    elif isinstance(target, str | os.PathLike):
        suffix = PurePath(target).suffix.lower() or ".mp4"
    else:
        suffix = ".mp4"
    if suffix not in _MUXERS:
        raise UsageError(f"cannot write {suffix} files: use {', '.join(_MUXERS)}")
    return _MUXERS[suffix]


def _muxer_options(muxer: str, format: VideoFormat, seekable: bool) -> dict[str, str]:
    if muxer == "matroska":
        return {}
    # A late start is written in ticks of the whole movie; the default of 1/1000 s would move it.
    scale = math.lcm(format.time_base.denominator, *(audio.time_base.denominator for audio in format.audio))
    options = {"movie_timescale": str(scale if scale <= _MAX_TIMESCALE else format.time_base.denominator)}
    if not seekable:
        options["movflags"] = "frag_keyframe+delay_moov+default_base_moof"
    return options
