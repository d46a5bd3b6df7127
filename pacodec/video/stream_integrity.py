"""Noticing that a video file is damaged or cut short."""

from __future__ import annotations  # av.Packet is generic to a type checker only

from fractions import Fraction

from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

# Headers round and tracks differ in length; a file is called cut short when this much and this part of it is missing.
_MISSING_SECONDS, _MISSING_PART = Fraction(1, 2), Fraction(1, 50)
_SPLICE_SECONDS = Fraction(1)
"""A longer step between the times of two packets is taken for the seam of two recordings that were put end to end."""
_MICROSECOND = Fraction(1, 1_000_000)


class StreamIntegrity:
    """Holds what arrives from a file against what its header announces."""

    def __init__(self, container: InputContainer, video: VideoStream, rate: Fraction | None) -> None:
        self.frames = 0
        """Frames decoded so far."""
        self.faults = 0
        """Errors of the demuxer and decoder, and damaged packets and frames, so far."""
        self._video, self._rate = video, rate
        self._marks: dict[int, list[Fraction]] = {}
        self._last: dict[int, Fraction] = {}
        self._spans: dict[int, tuple[Fraction, Fraction]] = {}
        self._only_video = bool(video.duration and video.time_base)
        if video.duration and video.time_base:
            self._announced_seconds = video.duration * video.time_base
        elif container.duration and all(stream.type in ("video", "audio") for stream in container.streams):
            # Matroska says when it ends, the others how long they last.
            before = container.start_time if "matroska" in container.format.name else 0
            self._announced_seconds = max(container.duration - (before or 0), 0) * _MICROSECOND
        else:
            self._announced_seconds = Fraction(0)

    @property
    def announced_frames(self) -> int | None:
        """Frames that the header announces or its duration suggests; None where it says nothing."""
        return self._video.frames or round(self._announced_seconds * (self._rate or 0)) or None

    def packet(self, packet: Packet[Stream]) -> None:
        """Take note of one packet of the video or of a track that is read along."""
        time = packet.pts if packet.pts is not None else packet.dts
        start = None if time is None else time * packet.time_base
        self._judge_marks(packet, start)
        if start is None or (self._only_video and packet.stream_index != self._video.index):
            return
        end = start + (packet.duration or 0) * packet.time_base
        first, last = self._spans.get(packet.stream_index, (start, end))
        self._spans[packet.stream_index] = min(first, start), max(last, end)

    def report(self) -> str | None:
        """One line if the file is damaged or cut short, once everything has arrived."""
        self.faults += sum(map(len, self._marks.values()))
        self._marks = {}
        if not self.faults and not self._cut_short():
            return None
        announced = self.announced_frames or 0
        total = f" of {announced} announced" if announced > self.frames else ""
        return f"input is damaged: {self.frames} frames decoded{total}"

    def _judge_marks(self, packet: Packet[Stream], start: Fraction | None) -> None:
        """Count a packet that the demuxer marks as damaged, unless a seam follows soon: there all may be there."""
        index, marks = packet.stream_index, self._marks.setdefault(packet.stream_index, [])
        before = self._last.get(index)
        if start is None:
            self.faults += packet.is_corrupt
            return
        if before is not None and abs(start - before) > _SPLICE_SECONDS:
            marks.clear()
        elif marks and abs(start - marks[0]) > _SPLICE_SECONDS:
            self.faults += 1
            del marks[0]
        if packet.is_corrupt:
            marks.append(start)
        self._last[index] = start

    def _cut_short(self) -> bool:
        if not self._spans:
            return False
        seconds = max(last for _, last in self._spans.values()) - min(first for first, _ in self._spans.values())
        missing = self._announced_seconds - seconds
        return missing > max(_MISSING_SECONDS, self._announced_seconds * _MISSING_PART)
