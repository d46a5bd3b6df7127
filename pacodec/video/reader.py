"""Reading a video file: RGB pictures and encoded audio packets, in the order in which they are stored."""

from __future__ import annotations  # av.Packet is generic to a type checker only

from collections import deque
from collections.abc import Generator, Iterator
from fractions import Fraction
from types import TracebackType
from typing import Self

import av
from av.audio.stream import AudioStream as AvAudioStream
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream

from pacodec import limits
from pacodec.errors import CorruptFileError
from pacodec.media import AudioPacket, Frame, VideoFormat
from pacodec.video.arrivals import Arrivals
from pacodec.video.audio import describe_audio, is_usable
from pacodec.video.color import RgbConverter, color_tags, has_matrix
from pacodec.video.source import Source, open_video, read_failure, source_name, source_size
from pacodec.video.timeline import Timeline

_DEFAULT_RATE = Fraction(25)
_SPLICE_SECONDS = Fraction(1)


class VideoReader:
    """Reads a video once, from its first frame to its last, in memory that does not grow with its length.

    Iterating gives `Frame` and `AudioPacket` objects. Time stamps are complete: `pts` of frames are not negative and
    strictly increase, as do the `dts` of each audio track.

    Args:
        source: a path, or a binary file object (seekable or not), which stays open.

    Raises:
        FileAccessError: the source cannot be read.
        CorruptFileError: it is empty, not a video, or nothing in it decodes.
        UnsupportedError: this build of FFmpeg cannot decode it.
        LimitError: its pictures are too large.
    """

    def __init__(self, source: Source) -> None:
        self._name = source_name(source)
        self.warnings: list[str] = []
        """What is wrong with the input, a line each; complete when iteration ends."""
        self.source_bytes: int | None = source_size(source)
        """Bytes of the file, None for a stream."""
        self._container, self._video = open_video(source)
        self._rate = self._video.average_rate or self._video.guessed_rate or None
        self._time_base = self._video.time_base or 1 / (self._rate or _DEFAULT_RATE)
        self._step = max(1, round(1 / ((self._rate or _DEFAULT_RATE) * self._time_base)))
        self._tracks = self._usable_tracks()
        self._arrivals = Arrivals(self._container, self._video, self._rate)
        self.frames_hint: int | None = self._arrivals.announced_frames
        """How many frames the header announces or its duration suggests; None where it says nothing."""
        self._events = self._read()
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

    def close(self) -> None:
        """Release the file; a file object that was given stays open."""
        self._events.close()
        self._container.close()

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
        clock = Timeline(self._step, int(_SPLICE_SECONDS / self._time_base))
        audio_clocks = [Timeline(1, int(_SPLICE_SECONDS / stream.time_base)) for stream in self.format.audio]
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
        self._conclude(clock.repaired, sum(audio.repaired for audio in audio_clocks))

    def _usable_tracks(self) -> list[AvAudioStream]:
        streams = self._container.streams.audio
        tracks = [stream for stream in streams if is_usable(stream)][: limits.MAX_AUDIO_STREAMS]
        if left_out := len(streams) - len(tracks):
            self.warnings.append(f"{left_out} audio tracks are left out: too many, or of an unknown codec")
        return tracks

    def _read(self) -> Generator[av.VideoFrame | Packet[Stream], None, None]:
        """Decoded frames and audio packets as the file has them."""
        try:
            for packet in self._container.demux(self._video, *self._tracks):
                if not packet.size:
                    continue  # a frame that was dropped, or the demuxer's sign of the end
                self._arrivals.packet(packet)
                if packet.stream_index == self._video.index:
                    yield from self._decode(packet)
                else:
                    yield packet
        except (FFmpegError, OSError) as error:
            if failure := read_failure(error, self._name):
                raise failure from error
            self._arrivals.faults += 1
        yield from self._decode(None)

    def _decode(self, packet: Packet[Stream] | None) -> list[av.VideoFrame]:
        try:
            frames = self._video.decode(packet)
        except FFmpegError:
            self._arrivals.faults += 1
            return []
        self._arrivals.frames += len(frames)
        self._arrivals.faults += sum(frame.is_corrupt for frame in frames)
        return frames

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
        raise CorruptFileError(f"{self._name}: no frame of it can be decoded")

    def _all_events(self) -> Iterator[av.VideoFrame | Packet[Stream]]:
        while self._head:
            yield self._head.popleft()
        yield from self._events

    def _describe(self, first: av.VideoFrame) -> VideoFormat:
        if not has_matrix(first):
            self.warnings.append(f"colour matrix {first.colorspace} is not supported: read as BT.601")
        aspect = self._video.sample_aspect_ratio
        return VideoFormat(
            width=first.width,
            height=first.height,
            time_base=self._time_base,
            frame_rate=self._rate,
            pixel_aspect=aspect if aspect and aspect > 0 and aspect != 1 else None,
            rotation=first.rotation,
            color=color_tags(first),
            audio=tuple(describe_audio(track) for track in self._tracks),
        )

    def _frame(self, frame: av.VideoFrame, pts: int, duration: int) -> Frame:
        size = self.format.width, self.format.height
        if (frame.width, frame.height) != size:
            notice = f"the picture size changes: every frame is scaled to the first one's {size[0]}x{size[1]}"
            if notice not in self.warnings:
                self.warnings.append(notice)
        own = (frame.width, frame.height) == size
        return Frame(self._to_rgb(frame), pts, duration, frame if own else None)

    def _audio_packet(self, packet: Packet[Stream], clocks: list[Timeline]) -> AudioPacket:
        number = next(i for i, track in enumerate(self._tracks) if track.index == packet.stream_index)
        dts = packet.dts if packet.dts is not None else packet.pts
        placed = clocks[number].place(dts, packet.duration) + round(self._delay / packet.time_base)
        reorder = packet.pts - packet.dts if packet.pts is not None and packet.dts is not None else 0
        return AudioPacket(
            number, placed + reorder, placed, max(packet.duration or 0, 0), packet.is_keyframe, bytes(packet)
        )

    def _conclude(self, frames_moved: int, packets_moved: int) -> None:
        for count, what in ((frames_moved, "frames"), (packets_moved, "audio packets")):
            if count:
                self.warnings.append(f"the time stamps of {count} {what} did not increase and were moved")
        if damage := self._arrivals.report():
            self.warnings.append(damage)
