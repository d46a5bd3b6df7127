"""Reading footage: RGB pictures and encoded audio packets in the order in which they are stored, or a sample of it."""

from __future__ import annotations  # av.Packet is generic to a type checker only

import os
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
from av.packet import Packet
from av.stream import Stream

from pacodec import limits
from pacodec.common.media import AudioPacket, Frame, Image, VideoFormat
from pacodec.errors import CorruptFileError, FileAccessError, UsageError
from pacodec.video.color import RgbConverter, color_losses, color_tags, has_alpha
from pacodec.video.demuxer import SPLICE_SECONDS, FfmpegSource, TimestampRepair
from pacodec.video.sequence import SequenceSource, is_pattern
from pacodec.video.source import DEFAULT_RATE, FrameSource, Source, source_name


class VideoReader:
    """Reads a video once, from its first frame to its last, in memory that does not grow with its length.

    Iterating gives `Frame` and `AudioPacket` objects. Time stamps are complete: `pts` of frames are not negative and
    strictly increase, as do the `dts` of each audio track.

    Args:
        source: a path, the pattern of a sequence of pictures (frame_%04d.png, shots/*.png), or a binary file object
            (seekable or not), which stays open.
        frame_rate: frames/s of a sequence of pictures, by default 25.

    Raises:
        FileAccessError: the source cannot be read.
        UsageError: a frame rate for what has times of its own.
        CorruptFileError: it is empty, not a video, or nothing in it decodes.
        UnsupportedError: this build of FFmpeg cannot decode it.
        LimitError: its pictures are too large.
    """

    def __init__(self, source: Source, frame_rate: Fraction | None = None) -> None:
        self._footage = open_frame_source(source, frame_rate)
        self.source_bytes: int | None = self._footage.source_bytes
        """Bytes of the file or files, None for a stream."""
        self.frames_hint: int | None = self._footage.frames_hint
        """How many frames the header announces or its duration suggests; None where it says nothing."""
        self._time_base = self._footage.time_base
        self._step = max(1, round(1 / ((self._footage.frame_rate or DEFAULT_RATE) * self._time_base)))
        self._tracks = {index: number for number, index in enumerate(self._footage.tracks)}
        self._notices: list[str] = []
        self._events = self._footage.events()
        try:
            self._head, first = self._until_first_frame()
            self.format: VideoFormat = self._describe(first)
            """What holds for the whole video."""
        except BaseException:
            self.close()
            raise
        # A frame before time zero would be hidden by players of MP4, so everything moves up with it.
        self._delay = -min(first.pts or 0, 0) * self._time_base
        self._to_rgb = RgbConverter(self.format.width, self.format.height)

    @property
    def warnings(self) -> list[str]:
        """What is wrong with the input or not carried over, a line each; complete when iteration ends."""
        return [*self._footage.warnings, *self._notices]

    def close(self) -> None:
        """Release the file; a file object that was given stays open."""
        self._events.close()
        self._footage.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame | AudioPacket]:
        """Frames and audio packets in stored order; to be iterated once.

        Raises:
            FileAccessError: the system cannot read on. Damaged data, in contrast, are skipped and end in `warnings`.
        """
        clock = TimestampRepair(self._step, int(SPLICE_SECONDS / self._time_base))
        audio_clocks = [TimestampRepair(1, int(SPLICE_SECONDS / stream.time_base)) for stream in self.format.audio]
        held: tuple[av.VideoFrame, int] | None = None
        for event in self._all_events():
            if not isinstance(event, av.VideoFrame):
                yield self._audio_packet(event, audio_clocks)
                continue
            pts = clock.place(event.pts, event.duration) + round(self._delay / self._time_base)
            # A frame lasts until the next one: what containers store beside B-frames is in another order.
            if held:
                yield self._frame(*held, pts - held[1])
            held = event, pts
        if held:
            yield self._frame(*held, held[0].duration or self._step)
        self._conclude([clock, *audio_clocks])

    def frames(self) -> Iterator[Frame]:
        """The frames alone; to be iterated once."""
        return (event for event in self if isinstance(event, Frame))

    def _until_first_frame(self) -> tuple[deque[av.VideoFrame | Packet[Stream]], av.VideoFrame]:
        head: deque[av.VideoFrame | Packet[Stream]] = deque()
        size = 0
        for event in self._events:
            head.append(event)
            if isinstance(event, av.VideoFrame):
                return head, event
            size += event.size
            if size > limits.MAX_AUDIO_BYTES:
                break
        raise CorruptFileError(f"{self._footage.name}: no frame of it can be decoded")

    def _all_events(self) -> Iterator[av.VideoFrame | Packet[Stream]]:
        while self._head:
            yield self._head.popleft()
        yield from self._events

    def _describe(self, first: av.VideoFrame) -> VideoFormat:
        self._notices += color_losses(first)
        footage = self._footage
        return VideoFormat(
            width=first.width,
            height=first.height,
            time_base=self._time_base,
            frame_rate=footage.frame_rate,
            pixel_aspect=footage.pixel_aspect,
            rotation=first.rotation,
            color=color_tags(first),
            audio=tuple(footage.tracks.values()),
        )

    def _frame(self, frame: av.VideoFrame, pts: int, duration: int) -> Frame:
        size = self.format.width, self.format.height
        if (frame.width, frame.height) != size:
            self._notice(f"the picture size changes: every frame is scaled to the first one's {size[0]}x{size[1]}")
        if frame.interlaced_frame:
            self._notice("interlaced: both fields stay woven into each frame, and no tag says so afterwards")
        picture = self._to_rgb(frame)
        if self._to_rgb.transparent:
            self._notice("transparency is not kept: pictures are composed on white")
        own = (frame.width, frame.height) == size and not has_alpha(frame)
        return Frame(picture, pts, duration, frame if own else None)

    def _notice(self, line: str) -> None:
        if line not in self._notices:
            self._notices.append(line)

    def _audio_packet(self, packet: Packet[Stream], clocks: list[TimestampRepair]) -> AudioPacket:
        number = self._tracks[packet.stream_index]
        dts = packet.dts if packet.dts is not None else packet.pts
        placed = clocks[number].place(dts, packet.duration) + round(self._delay / packet.time_base)
        reorder = packet.pts - packet.dts if packet.pts is not None and packet.dts is not None else 0
        return AudioPacket(
            number, placed + reorder, placed, max(packet.duration or 0, 0), packet.is_keyframe, bytes(packet)
        )

    def _conclude(self, clocks: list[TimestampRepair]) -> None:
        moved = [sum(clock.repaired for clock in group) for group in (clocks[:1], clocks[1:])]
        for count, what in zip(moved, ("frames", "audio packets"), strict=True):
            if count:
                self._notice(f"the time stamps of {count} {what} did not increase and were moved")
        if splices := max(clock.splices for clock in clocks):
            self._notice(f"joined from {splices + 1} recordings, each with times of its own: they are put end to end")


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
