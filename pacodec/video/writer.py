"""Writing a video file or an animated image: RGB pictures, and audio packets as they are."""

from __future__ import annotations  # av.Packet is generic to a type checker only

import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path, PurePath
from types import TracebackType
from typing import Any, BinaryIO, Self

import av
import numpy as np
from av.error import FFmpegError
from av.packet import Packet
from av.video.stream import VideoStream

from pacodec.common.media import AudioPacket, Image, VideoFormat
from pacodec.common.metrics import Distortion
from pacodec.errors import CorruptFileError, FileAccessError, UsageError
from pacodec.video.audio import add_audio_track, check_audio_codec, to_packet
from pacodec.video.encoders import (
    FORMS,
    CodingLoss,
    ConversionLoss,
    Form,
    Loss,
    VideoCodec,
    add_video_track,
    tick,
)
from pacodec.video.last_duration import set_in_apng, set_in_webp

_SHORTEST_OF_GIFS = 2
"""Hundredths of a second that browsers do not take for a mistake."""
_MAX_TIMESCALE = (1 << 31) - 1


class VideoWriter:
    """Writes frames and audio packets as they come, in memory that does not grow with their number.

    MP4 and MOV keep every time stamp; Matroska rounds to milliseconds, and moves everything up where audio starts
    before time zero. A target that cannot seek gets fragmented MP4. Animated images (GIF, WebP, APNG) and YUV4MPEG have
    no sound; their pictures are written as they are to be shown, turned where the video says so.

    Left by an exception, the file is not finished; what has been written is the caller's to remove.

    Args:
        target: a path, which is replaced, or a binary file object (seekable or not), which stays open.
        format: of the video; its colour tags are kept, unless the source was RGB: then BT.709 limited is written.
        container: a suffix of `FORMS` without its dot; by default what the path's suffix says, or else "mp4".
        codec: "h264" (4:2:0, or 4:4:4 where a side is odd) or "lossless" (H.264 that keeps every RGB value), where the
            container is one for players.
        crf: quality of "h264", 0 (best) to 51.

    Raises:
        UsageError: unknown container, codec or crf, or the container cannot hold the audio.
        FileAccessError: the target cannot be written.
    """

    def __init__(
        self,
        target: Target,
        format: VideoFormat,
        *,
        container: str | None = None,
        codec: VideoCodec = "h264",
        crf: int = 18,
    ) -> None:
        if codec not in ("h264", "lossless"):
            raise UsageError(f"codec {codec!r} is not known: h264 or lossless")
        if not 0 <= crf <= 51:
            raise UsageError(f"crf is {crf}, allowed are 0 to 51")
        self._form = form_of(target, container)
        self.notes: list[str] = []
        """What the file cannot hold of the video, a line each; complete when it is closed."""
        self._given, self._turns = format, 0
        self.format = format if self._form.video else self._as_shown(format)
        for audio in self.format.audio:
            check_audio_codec(self._form.muxer, audio.codec)
        self._first_pts, self._last_pts, self._last_tick, self._number = 0, -1, -1, 0
        self._last_duration = Fraction(0)
        self._tick = tick(self._form, self.format)
        self._output_file = OutputFile(target)
        try:
            options = _muxer_options(self._form, self.format, self._output_file.seekable())
            self._output = av.open(self._output_file, "w", format=self._form.muxer, container_options=options)
            self._video, self._to_frame = add_video_track(self._output, self._form, self.format, codec, crf)
            self._audio = [add_audio_track(self._output, audio) for audio in self.format.audio]
        except BaseException:
            self._output_file.abandon()
            raise
        size = self.format.width, self.format.height
        self._loss = Loss()
        if self._form.video and codec != "lossless":
            self._loss = CodingLoss(*size, self._video.codec_context)
        elif not self._form.video and not self._form.exact:
            self._loss = ConversionLoss(*size)

    @property
    def distortion(self) -> Distortion:
        """What a reader of the file will see, held against the pictures; of lossy H.264, of every eighth of them."""
        return self._loss.distortion

    @property
    def exact(self) -> bool:
        """Whether every picture so far comes back as it was, for certain."""
        return self._loss.complete and not self._loss.distortion.total

    def write_frame(self, rgb: Image, pts: int, duration: int) -> None:
        """Encode one picture, uint8 [H, W, 3], shown from `pts` for `duration` (ticks of the format's time base).

        Raises:
            UsageError: wrong shape or type, `pts` negative or not after the last one, or too close for Matroska.
            FileAccessError: the target cannot be written.
        """
        size = (self._given.height, self._given.width, 3)
        if rgb.shape != size or rgb.dtype != np.uint8:
            raise UsageError(f"a frame is {rgb.dtype} {list(rgb.shape)}, not uint8 {list(size)}")
        if pts <= self._last_pts or duration < 0:
            raise UsageError(
                f"frame at {pts} for {duration} ticks: times must increase, from 0 ({self._last_pts} before)"
            )
        step = (pts - self._last_pts) * self._given.time_base
        if self._form.steady and self._number and abs(step - self._tick) > self._tick / 2:
            self._note("this kind of file has one frame rate: the times of the pictures are not kept")
        self._first_pts = self._first_pts if self._number else pts
        self._last_pts, self._last_duration = pts, duration * self._given.time_base
        shown = np.ascontiguousarray(np.rot90(rgb, self._turns))
        frame = self._to_frame(shown)
        start = self._number if self._form.steady else round(pts * self._given.time_base / self._tick)
        if start <= self._last_tick:
            raise self._refusal(pts)
        end = start + 1 if self._form.steady else round((pts + duration) * self._given.time_base / self._tick)
        self._last_tick = start
        if self._form.muxer == "gif" and end - start < _SHORTEST_OF_GIFS:
            self._note("browsers show GIF frames of less than 20 ms for 100 ms: it will look slow there")
        frame.pts, frame.duration, frame.time_base = start, end - start, self._tick
        with self._output_file.failures(self._refusal(pts)):
            packets = self._video.encode(frame)
            self._loss.add(self._number, shown, frame, packets)
            self._output.mux(packets)
        self._number += 1

    def write_audio(self, packet: AudioPacket) -> None:
        """Store one audio packet.

        Raises:
            CorruptFileError: no such track, or a time or content that the container refuses.
            FileAccessError: the target cannot be written.
        """
        if packet.stream >= len(self._audio):
            raise CorruptFileError(f"audio packet of track {packet.stream}, but there are {len(self._audio)}")
        coded = to_packet(packet, self._audio[packet.stream], self.format.audio[packet.stream].time_base)
        refused = CorruptFileError(f"audio packet at {packet.dts} of track {packet.stream} is not valid")
        with self._output_file.failures(refused):
            self._output.mux_one(coded)

    def close(self) -> None:
        """Finish the file. May be called again. FileAccessError if the target cannot be written."""
        if self._output_file.closed:
            return
        with self._output_file.failures(UsageError(f"{self._output.format.name} cannot hold the last frames")):
            packets: list[Packet[Any]] = list(self._video.encode(None))
            self._loss.finish(packets)
            if self._form.muxer == "webp":
                packets = [self._with_last_duration(packet) for packet in packets]
            self._output.mux(packets)
            self._output.close()
            if self._form.muxer == "apng" and self._output_file.readable():
                set_in_apng(self._output_file, self._last_duration)
            self._output_file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._output_file.abandon()

    def _as_shown(self, format: VideoFormat) -> VideoFormat:
        """The format of what can say nothing of sound, turning and aspect."""
        if format.audio:
            self._note("this kind of file has no sound: the audio tracks are left out")
        if format.rotation % 90 == 0:
            self._turns = format.rotation // 90 % 4
        else:
            self._note(f"the pictures are not turned by {format.rotation} degrees")
        if format.pixel_aspect and not self._form.steady:
            self._note(f"this kind of file has square pixels: the aspect of {format.pixel_aspect} is not kept")
        width, height = (format.height, format.width) if self._turns % 2 else (format.width, format.height)
        aspect = 1 / format.pixel_aspect if format.pixel_aspect and self._turns % 2 else format.pixel_aspect
        return replace(format, width=width, height=height, rotation=0, pixel_aspect=aspect, audio=())

    def _with_last_duration(self, packet: Packet[VideoStream]) -> Packet[Any]:
        shown = (self._last_pts - self._first_pts) * self._given.time_base + self._last_duration
        patched: Packet[Any] = Packet(set_in_webp(bytes(packet), round(shown * 1000)))
        patched.stream, patched.time_base = packet.stream, packet.time_base
        patched.pts, patched.dts, patched.duration = packet.pts, packet.dts, packet.duration
        return patched

    def _note(self, line: str) -> None:
        if line not in self.notes:
            self.notes.append(line)

    def _refusal(self, pts: int) -> UsageError:
        return UsageError(f"{self._output.format.name} cannot hold a frame at {pts}")


def form_of(target: Target, container: str | None = None) -> Form:
    """The form that a container's name asks for, or else the suffix of a path; UsageError where there is none."""
    if container is not None:
        suffix = f".{container}"
    elif isinstance(target, str | os.PathLike):
        suffix = PurePath(target).suffix.lower()
    else:
        suffix = ".mp4"
    if suffix in FORMS:
        return FORMS[suffix]
    what = f"its suffix {suffix} is not known" if suffix else "the name has no suffix"
    raise UsageError(f"{_name(target)}: {what}; write {', '.join(FORMS)} or a sequence like %04d.png")


def _name(target: Target) -> str:
    return os.fspath(target) if isinstance(target, str | os.PathLike) else str(getattr(target, "name", "output"))


def _muxer_options(form: Form, format: VideoFormat, seekable: bool) -> dict[str, str]:
    if form.muxer not in ("mp4", "mov"):
        return dict(form.muxer_options)
    # A late start is written in ticks of the whole movie; the default of 1/1000 s would move it.
    scale = math.lcm(format.time_base.denominator, *(audio.time_base.denominator for audio in format.audio))
    options = {"movie_timescale": str(scale if scale <= _MAX_TIMESCALE else format.time_base.denominator)}
    if not seekable:
        options["movflags"] = "frag_keyframe+delay_moov+default_base_moof"
    return options


Target = str | os.PathLike[str] | BinaryIO
"""A path, or a binary file object, which need not be seekable."""


class OutputFile:
    """The file object that FFmpeg gets.

    FFmpeg would finish a file on its own when its context is freed; it does not touch one that calls itself closed.
    A path is opened (and made anew) here and closed by `close`; a file object that was given stays open.
    """

    def __init__(self, target: Target) -> None:
        self.closed = False
        self._owned = isinstance(target, str | os.PathLike)
        if isinstance(target, str | os.PathLike):
            self.name = os.fspath(target)
            try:
                self._file: BinaryIO = Path(target).open("w+b")  # noqa: SIM115 - closed by close()
            except (OSError, ValueError) as error:
                raise FileAccessError(f"{self.name}: {getattr(error, 'strerror', None) or error}") from error
            # A character device says that it can seek, but what went through it is gone.
            self._seekable = stat.S_ISREG(os.fstat(self._file.fileno()).st_mode)
        else:
            self.name = str(getattr(target, "name", "output"))
            self._file = target
            self._seekable = target.seekable()

    def seekable(self) -> bool:
        """Whether what is written can be gone back to."""
        return self._seekable

    def readable(self) -> bool:
        """Whether what is written can be read again."""
        return self._seekable and self._file.readable()

    def write(self, data: bytes) -> int:
        """Write all of `data`; unbuffered files and pipes may take it in parts."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) or 0 :]
        return len(data)

    def read(self, size: int = -1) -> bytes:
        """What was written, from where the file stands; io.UnsupportedOperation where that cannot be read."""
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        """Hand everything to the system; OSError if it does not take it."""
        self.closed = True
        if self._owned:
            self._file.close()
        else:
            self._file.flush()

    @contextmanager
    def failures(self, refused: UsageError | CorruptFileError) -> Iterator[None]:
        """Turn what goes wrong inside into a FileAccessError if the system is at fault, into `refused` otherwise."""
        try:
            yield
        except (FFmpegError, OSError, ValueError) as error:
            self.abandon()
            # The sink is a Python object: what the system refuses comes back as a plain OSError, not as FFmpeg's.
            if isinstance(error, FFmpegError) or not isinstance(error, OSError):
                raise refused from error
            raise FileAccessError(f"{self.name}: cannot write: {error.strerror or error}") from error

    def abandon(self) -> None:
        """Let go of the file as it is, whatever state it is in."""
        self.closed = True
        if self._owned:
            try:
                self._file.close()
            except OSError:
                return  # the caller is already being told of a failure
