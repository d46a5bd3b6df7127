"""Reading a video file: RGB pictures and encoded audio packets, in the order in which they are stored."""

from __future__ import annotations  # av.Packet is generic to a type checker only

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from types import TracebackType
from typing import Self

import av
from av.packet import Packet
from av.stream import Stream

from pacodec import limits
from pacodec.common.media import AudioPacket, Frame, VideoFormat
from pacodec.errors import CorruptFileError
from pacodec.video.color import RgbConverter, color_losses, color_tags, has_alpha
from pacodec.video.demuxer import TimestampRepair
from pacodec.video.open import open_frame_source
from pacodec.video.source import Source

_DEFAULT_RATE = Fraction(25)
_SPLICE_SECONDS = Fraction(1)


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
        self._step = max(1, round(1 / ((self._footage.frame_rate or _DEFAULT_RATE) * self._time_base)))
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
        clock = TimestampRepair(self._step, int(_SPLICE_SECONDS / self._time_base))
        audio_clocks = [TimestampRepair(1, int(_SPLICE_SECONDS / stream.time_base)) for stream in self.format.audio]
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
