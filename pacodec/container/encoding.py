"""What each run of an encoder does, whatever its GOPs hold: it keeps times, audio and losses, and reports them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from pacodec.common.media import AudioPacket, EncoderInput, Frame
from pacodec.common.metrics import Distortion
from pacodec.container.header import Header
from pacodec.container.writer import Writer
from pacodec.options import EncodeOptions
from pacodec.reports import EncodeReport, ProgressCallback

PROGRESS_FRAMES = 8
"""Frames after which progress is reported again."""


class EncodingRun:
    """The state of one run, from the first frame to the report. Who extends it sets `header` and `writer`."""

    header: Header
    writer: Writer

    def __init__(self, reader: EncoderInput, options: EncodeOptions, progress: ProgressCallback) -> None:
        self.reader, self.options, self.progress = reader, options, progress
        self.format = reader.format if options.audio else replace(reader.format, audio=())
        self.audio: list[AudioPacket] = []
        self.distortion = Distortion()
        self.done = self.repeats = 0
        self.start = self.end = 0

    def frames(self, events: Iterator[Frame | AudioPacket]) -> Iterator[Frame]:
        """The frames, which are counted; audio is put aside until a GOP takes it."""
        for event in events:
            if isinstance(event, AudioPacket):
                if self.options.audio:
                    self.audio.append(event)
                continue
            self.start = event.pts if not self.done else self.start
            self.end = event.pts + event.duration
            self.done += 1
            if self.done % PROGRESS_FRAMES == 0:
                self.progress(self.done, self.reader.frames_hint)
            yield event

    def take_audio(self, end: int) -> list[AudioPacket]:
        """The packets put aside that begin before `end`, in ticks of the video; they are put aside no longer."""
        until = end * self.format.time_base
        bases = [track.time_base for track in self.format.audio]
        taken = [packet for packet in self.audio if packet.dts * bases[packet.stream] < until]
        self.audio = [packet for packet in self.audio if packet.dts * bases[packet.stream] >= until]
        return taken

    def finish(self) -> None:
        """Write the rest of the audio and the end of the file."""
        self.writer.add_audio(self.audio)
        self.writer.close(self.reader.source_bytes)

    def report(
        self,
        seconds: float,
        reason: str,
        *,
        model: str | None = None,
        all_measured: bool = True,
        warnings: Sequence[str] = (),
    ) -> EncodeReport:
        """What was done in so many seconds, and why in that way.

        `all_measured` says whether the distortion is of all frames, `warnings` are lines beside those of the reader.
        """
        video, lost = self.format, self.distortion
        coders = [entry.coder for entry in self.writer.gops]
        return EncodeReport(
            frames=self.done,
            repeats=self.repeats,
            width=video.width,
            height=video.height,
            duration=float((self.end - self.start) * video.time_base),
            transform=self.header.transform.name,
            quantizer=self.header.quantizer.name,
            coders={name: coders.count(name) for name in sorted(set(coders))},
            model=model,
            reason=reason,
            gops=len(self.writer.gops),
            bytes=self.writer.bytes_written,
            raw_bytes=self.done * video.width * video.height * 3,
            source_bytes=self.reader.source_bytes,
            exact=all_measured and not lost.total,
            psnr=lost.psnr,
            psnr_low=lost.worst_psnr,
            psnr_frames=lost.frames,
            seconds=seconds,
            warnings=[*self.reader.warnings, *warnings],
        )
