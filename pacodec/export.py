"""A .pac file to a video file."""

import math
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import PurePath
from time import monotonic

from pacodec.common.files import STANDARD_STREAM, check_target, naming, replacing
from pacodec.common.media import AudioPacket
from pacodec.common.metrics import Distortion
from pacodec.container import Extent, Gop, Header, Loss, Reader, StreamReader, Survivors
from pacodec.decoder import exact_seconds
from pacodec.errors import CorruptFileError, LimitError, UsageError
from pacodec.gop.grid_transforms import transform_for
from pacodec.gop.parallel import cores
from pacodec.gop.pictures import Damage, GopPictures
from pacodec.gop.priors import decoders_of, model_of
from pacodec.transforms.base import PICTURE
from pacodec.video.encoders import VideoCodec
from pacodec.video.output import Output, check_output, output_bytes, writing_video

DEFAULT_CRF = 18
_COPIED_ONLY = (".webm",)
"""Kinds of file that packets are copied to, but nothing is coded for."""
_LABEL_PLANES = 2
"""Code planes of a palette, which may have a second level; more are corrections of pictures of many colours."""
AUDIO_LOOKAHEAD = Fraction(1)
"""Seconds of audio written ahead of the pictures, so that the muxer need not hold either back."""


@dataclass(frozen=True)
class DecodeReport:
    """What `decode` did; `seconds` do not count loading the model.

    damage: everything wrong with the file, a line each. lost: the frames that are missing in the output; of a file that
    was cut before its writer knew how many there would be, only `damage` says that the end is missing. distortion: what
    readers of the output see, held against the decoded pictures, None where that is exact. notes: what the output's
    kind of file cannot hold, a line each.
    """

    frames: int
    width: int
    height: int
    bytes: int | None
    seconds: float
    damage: list[str] = field(default_factory=list)
    lost: list[Loss] = field(default_factory=list)
    distortion: Distortion | None = None
    notes: list[str] = field(default_factory=list)


def decode(
    source: str,
    target: str,
    *,
    model: str | None = None,
    start: float = 0.0,
    end: float | None = None,
    container: str | None = None,
    crf: int | None = None,
    lossless: bool = False,
    copy: bool | None = None,
    audio: bool = True,
    keep_going: bool = False,
    device: str = "auto",
    jobs: int | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> DecodeReport:
    """Decode `source` into a video, an animated image or a sequence of pictures (%04d.png), as the suffix of `target`
    says, or `container` (a suffix without its dot); `-` is standard input or output.

    `target` (MP4 on standard output) appears when it is complete, or not at all. `start` and `end`, in seconds, cut out
    the frames shown then; the cut starts at time zero. What players are for is H.264: `lossless` keeps every RGB value,
    `crf` is x264's quality in 4:2:0; with neither, pictures of few colours or of full chroma, which 4:2:0 would spoil,
    are kept exactly, and others get a `crf` of 18. Packets of a standard codec are written as they are where that is
    possible and neither is asked for; `copy` demands or forbids it. A damaged file is an error unless `keep_going`:
    then what survives is written, at its own times, and the report says what does not.

    Raises the exceptions of `pacodec.errors`.
    """
    if not 0 <= start < (math.inf if end is None else end) or end == math.inf:
        raise UsageError(f"from {start:g} {'on' if end is None else f'to {end:g}'} seconds is no range of time")
    if lossless and crf is not None:
        raise UsageError("what is lossless has no crf")
    if copy is not False and container is None and PurePath(target).suffix.lower() in _COPIED_ONLY:
        check_target(target, overwrite=overwrite, sources=(source,))
    else:
        check_output(target, container, overwrite=overwrite, sources=(source,))
    with ExitStack() as stack:
        stack.enter_context(naming(source))
        reader = StreamReader(sys.stdin.buffer) if source == STANDARD_STREAM else stack.enter_context(Reader(source))
        if not keep_going:
            _refuse_damage(reader)
        header = reader.header
        whole = start == 0 and end is None and target != STANDARD_STREAM and not reader.damage
        plain = whole and container is None and crf is None and not lossless
        if copy is not False and (report := _copied(reader if plain else None, target, audio, demanded=bool(copy))):
            return report
        check_output(target, container, overwrite=True, sources=(source,))
        found = model_of(reader, model)
        transform, decoders = transform_for(header, found, device), decoders_of(reader, found)
        began = monotonic()
        video = header.video if audio else replace(header.video, audio=())
        span = _Span(video.time_base, exact_seconds(start), None if end is None else exact_seconds(end))
        cutter = _Cutter(reader, span, keep_going)
        exactly = lossless or (crf is None and _spoiled_by_halved_chroma(header))
        codec: VideoCodec = "lossless" if exactly else "h264"
        quality = DEFAULT_CRF if crf is None else crf
        with writing_video(target, video, container=container, codec=codec, crf=quality) as writer:
            on_damage = cutter.on_damage if keep_going else None
            pictures = GopPictures(header, transform, decoders, jobs or cores(), on_damage)
            frames = cutter.write(writer, pictures, lambda done: progress(done, reader.declared or None))
            if not keep_going:
                _refuse_damage(reader)
            if not frames:
                raise CorruptFileError(f"holds no frame{' in that time range' if start or end else ''}")
        size = output_bytes(target)
        lost = cutter.losses()
        damage = list(dict.fromkeys((*reader.damage, *cutter.damage, *map(str, lost))))
    seconds = monotonic() - began
    distortion = None if writer.exact else writer.distortion
    return DecodeReport(frames, video.width, video.height, size, seconds, damage, lost, distortion, list(writer.notes))


def _spoiled_by_halved_chroma(header: Header) -> bool:
    """Whether 4:2:0 would blur the pictures: ones of few colours, which H.264 in RGB stores well, or of full chroma."""
    if header.transform.name == PICTURE:
        from pacodec.base_layer.stream import streams_of

        return all("420" not in stream.colour.pixel_format for stream in streams_of(header.transform.params).values())
    return not header.grid.ordinal and header.grid.channels <= _LABEL_PLANES


def _copied(reader: Reader | StreamReader | None, target: str, audio: bool, *, demanded: bool) -> DecodeReport | None:
    """What copying the packets of a file gave; None where that is not possible, an error where it is `demanded`."""
    why: str | None = "only the whole of an undamaged file is, to a file that its suffix describes"
    if isinstance(reader, Reader) and reader.header.transform.name == PICTURE:
        from pacodec.base_layer.copying import copy_obstacle, copy_packets

        began = monotonic()
        why = copy_obstacle(reader, target)
        if why is None:
            video = reader.header.video
            with replacing(target) as part:
                frames = copy_packets(reader, part, target, audio=audio)
                size = part.stat().st_size
            copied = ["the packets are those of the .pac file, copied as they are"]
            return DecodeReport(frames, video.width, video.height, size, monotonic() - began, notes=copied)
    elif reader is not None:
        why = "it holds no packets of a standard codec"
    if demanded:
        raise UsageError(f"packets cannot be copied: {why}")
    return None


def _refuse_damage(reader: Reader | StreamReader) -> None:
    if reader.damage:
        raise CorruptFileError(f"{reader.damage[0]}; --keep-going decodes what is intact")


@dataclass(frozen=True)
class _Span:
    """A range of presentation times, in seconds."""

    time_base: Fraction
    start: Fraction
    end: Fraction | None

    def overlaps(self, first: int, last: int) -> bool:
        """Whether something shown over [first, last) ticks is seen in the span."""
        begins_in = self.end is None or first * self.time_base < self.end
        return begins_in and (last * self.time_base > self.start or not self.start)

    def concerns(self, loss: Loss) -> bool:
        """Whether some of what is lost would be seen in the span."""
        begins_in = self.end is None or loss.start is None or loss.start < self.end
        return begins_in and (loss.end is None or loss.end > self.start or not self.start)


class _Cutter:
    """Takes the frames and packets of a time span from a file to a writer, in memory that does not grow."""

    def __init__(self, reader: Reader | StreamReader, span: _Span, keep_going: bool) -> None:
        self.reader, self.span, self.keep_going = reader, span, keep_going
        self.damage: list[str] = []
        self.survivors = Survivors()
        self.bases = [track.time_base for track in reader.header.video.audio]
        self.shift: Fraction | None = None if span.start else Fraction(0)
        # A file's packets are fetched when their time comes; a pipe's come between its GOPs.
        self.packets: deque[AudioPacket] = deque()
        self.fetch: Iterator[AudioPacket] = reader.audio() if isinstance(reader, Reader) else iter(())

    def write(self, writer: Output, pictures: GopPictures, progress: Callable[[int], None]) -> int:
        """Write everything, and return the number of frames."""
        frames, with_audio = 0, bool(writer.format.audio)
        for gop, first, batch in pictures.run(self._gops()):
            self._survived(gop, first, first + len(batch))
            for offset, rgb in enumerate(batch):
                pts, end = int(gop.pts[first + offset]), int(gop.pts[first + offset + 1])
                if not self.span.overlaps(pts, end):
                    continue
                if self.shift is None:
                    self.shift = pts * self.span.time_base
                if with_audio:
                    self._write_audio(writer, end * self.span.time_base + AUDIO_LOOKAHEAD)
                writer.write_frame(rgb, pts - round(self.shift / self.span.time_base), end - pts)
                frames += 1
            progress(frames)
        if with_audio and self.shift is not None:
            self._write_audio(writer, None)
        return frames

    def on_damage(self, gop: Gop, error: Damage) -> None:
        """Note why a GOP, or the rest of one, is lost."""
        self.damage.append(f"GOP of frames {gop.first_frame} to {gop.first_frame + gop.frames - 1}: {error}")

    def losses(self) -> list[Loss]:
        """What is missing of the span, once everything was written."""
        found = self.survivors.losses(self.reader.declared, self.span.time_base)
        return [loss for loss in found if self.span.concerns(loss)]

    def _survived(self, gop: Gop, begin: int, end: int) -> None:
        frames = gop.first_frame + begin, gop.first_frame + end
        self.survivors.add(Extent(*frames, int(gop.pts[begin]), int(gop.pts[end])))

    def _gops(self) -> Iterator[Gop]:
        if isinstance(self.reader, Reader):
            for number, entry in enumerate(self.reader.gops):
                if not self.span.overlaps(entry.start, entry.end):
                    end_frame = entry.first_frame + entry.frames
                    self.survivors.add(Extent(entry.first_frame, end_frame, entry.start, entry.end))
                    continue
                try:
                    yield self.reader.gop(number)
                except (CorruptFileError, LimitError) as error:
                    if not self.keep_going:
                        raise
                    self.damage.append(str(error))
            return
        for event in self.reader:
            if isinstance(event, AudioPacket):
                self.packets.append(event)
            elif self.span.overlaps(event.start, event.end):
                yield event
            else:
                self._survived(event, 0, event.frames)

    def _write_audio(self, writer: Output, until: Fraction | None) -> None:
        """Write the packets of the span that are due before a time in seconds, or all."""
        shift = self.shift or Fraction(0)
        while True:
            if not self.packets:
                packet = next(self.fetch, None)
                if packet is None:
                    return
                self.packets.append(packet)
            packet = self.packets[0]
            base = self.bases[packet.stream]
            if until is not None and packet.dts * base > until:
                return
            self.packets.popleft()
            moved = round(shift / base)
            after_start = not shift or packet.pts * base >= shift
            if after_start and (self.span.end is None or packet.pts * base < self.span.end):
                writer.write_audio(replace(packet, pts=packet.pts - moved, dts=packet.dts - moved))
