"""What FFmpeg reads: frames and audio packets of a file, whose time stamps are repaired and whose damage is noticed."""

from __future__ import annotations  # av.Packet is generic to a type checker only

from collections import Counter
from collections.abc import Generator, Iterator
from fractions import Fraction
from itertools import islice

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from pacodec import limits
from pacodec.video.audio import describe_audio, is_usable
from pacodec.video.source import DEFAULT_RATE, Source, open_video, read_failure, source_name, source_size

# FFmpeg's own decoders of these pass over the second stream that holds the opacities; those of libvpx do not.
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
_TITLES = ("title", "artist", "album", "comment", "description", "copyright", "location")
"""Tags that people write; those that programs write are not worth a line."""
# After a seek the decoder stands on a keyframe; going on to the wanted time is worth this many frames, not a long GOP.
_MAX_STEPS = 48
_NAMES = {"subtitle": "subtitle track", "data": "data track", "attachment": "attachment"}


class FfmpegSource:
    """A file or stream that FFmpeg demuxes and decodes (see `FrameSource`).

    Raises:
        FileAccessError: the source cannot be read.
        CorruptFileError: it is empty, not a video, or has no video stream.
        UnsupportedError: this build of FFmpeg cannot decode it.
        LimitError: its pictures are too large.
    """

    def __init__(self, source: Source) -> None:
        self.name = source_name(source)
        self.source_bytes = source_size(source)
        self._container, self._video = open_video(source)
        self.frame_rate = self._video.average_rate or self._video.guessed_rate or None
        self.time_base = self._video.time_base or 1 / (self.frame_rate or DEFAULT_RATE)
        aspect = self._video.sample_aspect_ratio
        self.pixel_aspect = aspect if aspect and aspect > 0 and aspect != 1 else None
        self.warnings = left_behind(self._container, self._video)
        streams = self._container.streams.audio
        usable = [stream for stream in streams if is_usable(stream)][: limits.MAX_AUDIO_STREAMS]
        if left_out := len(streams) - len(usable):
            self.warnings.append(f"{left_out} audio tracks are left out: too many, or of an unknown codec")
        self._audio = usable
        self.tracks = {stream.index: describe_audio(stream) for stream in usable}
        self._decoder = decoder_of(self._video)
        self._integrity = StreamIntegrity(self._container, self._video, self.frame_rate)
        self.frames_hint = self._integrity.announced_frames

    def close(self) -> None:
        """Release the file; a file object that was given stays open."""
        self._container.close()

    def events(self) -> Generator[av.VideoFrame | Packet[Stream], None, None]:
        """Decoded frames and audio packets as the file has them."""
        try:
            for packet in self._container.demux(self._video, *self._audio):
                if not packet.size:
                    continue  # a frame that was dropped, or the demuxer's sign of the end
                self._integrity.packet(packet)
                if packet.stream_index == self._video.index:
                    yield from self._frames(packet)
                else:
                    yield packet
        except (FFmpegError, OSError) as error:
            if failure := read_failure(error, self.name):
                raise failure from error
            self._integrity.faults += 1
        yield from self._frames(None)
        if damage := self._integrity.report():
            self.warnings.append(damage)

    def seek_samples(self, n: int) -> list[av.VideoFrame]:
        """Distinct frames near n evenly spaced times; too few where the file cannot be searched that way."""
        container, video = self._container, self._video
        if not container.duration:
            return []
        begin, length = (container.start_time or 0) / av.time_base, container.duration / av.time_base
        found: dict[int, av.VideoFrame] = {}
        for k in range(n):
            wanted = int((begin + length * (k + 0.5) / n) / self.time_base)
            try:
                container.seek(wanted, stream=video)
            except FFmpegError:
                return []
            self._decoder.flush_buffers()
            frame = None
            for frame in islice(self._video_frames(), _MAX_STEPS):
                if frame.pts is None or frame.pts + frame.duration > wanted:
                    break
            if frame is not None and frame.pts is not None:
                found[frame.pts] = frame
        return [found[pts] for pts in sorted(found)]

    def _video_frames(self) -> Iterator[av.VideoFrame]:
        """What decodes from where the file stands."""
        try:
            for packet in self._container.demux(self._video):
                yield from self._frames(packet)
        except FFmpegError:
            return

    def _frames(self, packet: Packet[Stream] | Packet[VideoStream] | None) -> list[av.VideoFrame]:
        try:
            frames = self._decoder.decode(packet)
        except FFmpegError:
            self._integrity.faults += 1
            return []
        self._integrity.frames += len(frames)
        self._integrity.faults += sum(frame.is_corrupt for frame in frames)
        return frames


def decoder_of(video: VideoStream) -> av.VideoCodecContext:
    """What decodes the packets of a stream: FFmpeg's choice, but where that would pass over the opacities."""
    context = video.codec_context
    name = _ALPHA_DECODERS.get(context.codec.canonical_name)
    tags = {key.lower(): value for key, value in video.metadata.items()}
    if tags.get("alpha_mode") != "1" or name is None or name not in av.codecs_available:
        return context
    decoder = av.CodecContext.create(name, "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.extradata = context.extradata
    decoder.options = {"max_pixels": str(limits.MAX_PIXELS)}
    return decoder


def left_behind(container: InputContainer, video: VideoStream) -> list[str]:
    """What a file holds beside the one video stream and the sound, a line each: none of it is carried over."""
    found: Counter[str] = Counter()
    for stream in container.streams:
        if stream.index == video.index or stream.type == "audio":
            continue
        if stream.type == "video":
            cover = stream.disposition & Disposition.attached_pic
            found["cover picture" if cover else "further video track"] += 1
        else:
            found[_NAMES.get(stream.type, "track of an unknown kind")] += 1
    found["chapter"] = len(container.chapters())
    lines = [
        f"{count} {name}{'' if count == 1 else 's'} {'is' if count == 1 else 'are'} not carried over"
        for name, count in found.items()
        if count
    ]
    titles = [tag for tag in _TITLES if container.metadata.get(tag)]
    return lines + [f"tags are not carried over: {', '.join(titles)}"] * bool(titles)


# Headers round and tracks differ in length; a file is called cut short when this much and this part of it is missing.
_MISSING_SECONDS, _MISSING_PART = Fraction(1, 2), Fraction(1, 50)
SPLICE_SECONDS = Fraction(1)
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
        if before is not None and abs(start - before) > SPLICE_SECONDS:
            marks.clear()
        elif marks and abs(start - marks[0]) > SPLICE_SECONDS:
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


class TimestampRepair:
    """Places the pictures or packets of one stream in time.

    Args:
        step: ticks from a picture to the next where the file does not say.
        jump: a step back of more than that many ticks is a splice: what follows it goes on after what came before.
            A smaller one is a wrong time stamp, and only that one is moved.
    """

    def __init__(self, step: int, jump: int) -> None:
        self.repaired = 0
        """Time stamps that had to be changed so far, but for splices."""
        self.splices = 0
        """Steps back so far that were splices."""
        self._step = max(step, 1)
        self._jump = jump
        self._last: int | None = None
        self._next = 0
        self._offset = 0

    def place(self, time: int | None, duration: int | None) -> int:
        """The time of the next picture or packet, given the file's `time` and `duration` in ticks if it has any."""
        placed = self._next if time is None else time + self._offset
        if self._last is not None and placed <= self._last:
            if self._last - placed > self._jump:
                self.splices += 1
                self._offset += self._next - placed
                placed = self._next
            else:
                self.repaired += 1
                placed = self._last + 1
        self._last = placed
        self._next = placed + (duration or self._step)
        return placed
