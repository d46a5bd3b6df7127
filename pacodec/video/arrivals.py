"""Noticing that a video file is damaged or cut short."""

from __future__ import annotations  # av.Packet is generic to a type checker only

from fractions import Fraction

from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

# Headers round and tracks differ in length; a file is called cut short when this much and this part of it is missing.
_MISSING_SECONDS, _MISSING_PART = Fraction(1, 2), Fraction(1, 50)
_MICROSECOND = Fraction(1, 1_000_000)


class Arrivals:
    """Holds what arrives from a file against what its header announces."""

    def __init__(self, container: InputContainer, video: VideoStream, rate: Fraction | None) -> None:
        self.frames = 0
        """Frames decoded so far."""
        self.faults = 0
        """Errors of the demuxer and decoder, and damaged packets and frames, so far."""
        self._video, self._rate = video, rate
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
        self.faults += packet.is_corrupt
        time = packet.pts if packet.pts is not None else packet.dts
        if time is None or (self._only_video and packet.stream_index != self._video.index):
            return
        start = time * packet.time_base
        end = start + (packet.duration or 0) * packet.time_base
        first, last = self._spans.get(packet.stream_index, (start, end))
        self._spans[packet.stream_index] = min(first, start), max(last, end)

    def report(self) -> str | None:
        """One line if the file is damaged or cut short, once everything has arrived."""
        if not self.faults and not self._cut_short():
            return None
        announced = self.announced_frames or 0
        total = f" of {announced} announced" if announced > self.frames else ""
        return f"input is damaged: {self.frames} frames decoded{total}"

    def _cut_short(self) -> bool:
        if not self._spans:
            return False
        seconds = max(last for _, last in self._spans.values()) - min(first for first, _ in self._spans.values())
        missing = self._announced_seconds - seconds
        return missing > max(_MISSING_SECONDS, self._announced_seconds * _MISSING_PART)
