"""Frames to GOPs, GOPs to chunks: the pipeline of threads between a video and a .pac file, in bounded memory."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from fractions import Fraction
from time import monotonic
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from pacodec import limits
from pacodec.ahead import Channel, Stopped
from pacodec.blas import one_thread
from pacodec.choose import Choice
from pacodec.container import Component, Gop, Header, Writer
from pacodec.errors import LimitError, UsageError
from pacodec.gops import CodedGop, LatentBatch, encode_gop
from pacodec.media import AudioPacket, Frame
from pacodec.metadata import WRITER
from pacodec.open_gop import OpenGop, even_frames
from pacodec.predictors import get_predictor
from pacodec.predictors.adaptive import AdaptivePredictor
from pacodec.predictors.base import Predictor, check_grid
from pacodec.predictors.crew import Crew
from pacodec.predictors.learned import PREDICTIVE, LearnedPredictor
from pacodec.predictors.none import NonePredictor
from pacodec.thrift import Thrift, candidates
from pacodec.transforms.base import Pictures
from pacodec.video.reader import VideoReader

BATCH_PIXELS = 1 << 19
"""Pixels analysed at a time: 16 frames of 160 x 200."""
WAITING_BYTES = 32 * limits.MIB
"""Latents that may wait for the entropy coder, a GOP."""
COLLECTED_BYTES = 128 * limits.MIB
"""Latents that a GOP may collect for a quantizer that must see all of them; a GOP ends before it has more."""


@dataclass(frozen=True)
class EncodeReport:
    """What `encode` did. Sizes in bytes, times in seconds, PSNR in dB (RGB, mean over `psnr_frames` frames).

    `seconds` do not count choosing and loading the model.
    """

    frames: int
    repeats: int
    width: int
    height: int
    duration: float
    transform: str
    quantizer: str
    predictor: str
    model: str | None
    reason: str
    gops: int
    bytes: int
    raw_bytes: int
    source_bytes: int | None
    psnr: float
    psnr_frames: int
    seconds: float
    warnings: list[str] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """Raw RGB bytes over bytes of the file."""
        return self.raw_bytes / self.bytes


@dataclass(frozen=True)
class Coding:
    """Options that do not depend on the footage."""

    predictor: str | None
    """None is the model's own, where it has one."""
    gop_seconds: float
    audio: bool
    embed_model: bool
    verify: bool
    jobs: int
    progress: Callable[[int, int | None], None]
    min_psnr: float | None
    effort: int


class Journal(Protocol):
    """Keeps account of the GOPs of a file that may be gone on with later."""

    @property
    def done(self) -> Sequence[Sequence[float]]:
        """PSNR of the measured frames of each GOP that an earlier run completed."""

    def record(self, end: int, psnr: Sequence[float]) -> None:
        """The file is complete up to `end` by one more GOP."""


class Pipeline:
    """The state of one run: a GOP being filled, GOPs in the works, audio that waits for them."""

    def __init__(
        self, reader: VideoReader, choice: Choice, coding: Coding, file: BinaryIO, journal: Journal | None = None
    ) -> None:
        """With a `journal`, `file` goes on where that says: the GOPs that are done are read again, but not coded."""
        self.reader, self.choice, self.coding = reader, choice, coding
        self.format = reader.format if coding.audio else replace(reader.format, audio=())
        coder = choice.coder
        self.predictor, self.substitute = predictor_for(choice, coding.predictor)
        header = Header(
            writer=WRITER,
            video=self.format,
            grid=coder.spec,
            transform=coder.transform,
            quantizer=coder.quantizer,
            predictor=Component(self.predictor.name),
            model=coder.model,
        )
        embedded = choice.model.data if coding.embed_model and choice.model else None
        self.journal, self.name = journal, getattr(file, "name", "the file")
        self.replayed = deque(journal.done if journal else ())
        self.writer = (Writer.resume if self.replayed else Writer)(file, header, embedded)
        self.replayed_entries = deque(self.writer.gops)
        self.batch = max(1, BATCH_PIXELS // (self.format.width * self.format.height))
        values = coder.spec.size * (1 if coder.streams else 4)
        self.waiting = max(2, WAITING_BYTES // (values * self.batch))
        gop_seconds = max(Fraction(coding.gop_seconds).limit_denominator(10**6), Fraction(1, 10**6))
        self.gop_ticks = max(1, int(gop_seconds / self.format.time_base))
        even = even_frames(reader.frames_hint, self.format.frame_rate, gop_seconds)
        self.gop_frames = even if coder.streams else max(1, min(even, COLLECTED_BYTES // values))
        self.psnr_every = 1 if coding.min_psnr is not None else max(1, round(self.format.frame_rate or 25))
        self.networks = ThreadPoolExecutor(coding.jobs)
        self.crew = Crew(self.predictor, coding.jobs)
        self.thrifts = candidates(choice.thrift, coding.effort)
        self.running: deque[OpenGop] = deque()
        self.audio: list[AudioPacket] = []
        self.psnr: list[float] = []
        self.repeats = self.done = 0

    def run(self, events: Iterator[Frame | AudioPacket]) -> EncodeReport:
        """Encode what comes and finish the file."""
        began = monotonic()
        with one_thread(), self.crew, self.networks, ThreadPoolExecutor(self.coding.jobs) as pool:
            try:
                end = self._read(events, pool)
                while self.running:
                    self._finish_oldest()
            except BaseException:
                self.networks.shutdown(wait=False, cancel_futures=True)
                for gop in self.running:
                    if gop.channel is not None:
                        gop.channel.stop()
                raise
        self.writer.add_audio(self.audio)
        self.writer.close(self.reader.source_bytes)
        return self._report(end, monotonic() - began)

    def _read(self, events: Iterator[Frame | AudioPacket], pool: ThreadPoolExecutor) -> float:
        """Take everything from the source; the duration in seconds."""
        gop: OpenGop | None = None
        start = end = 0
        for event in events:
            if isinstance(event, AudioPacket):
                if self.coding.audio:
                    self.audio.append(event)
                continue
            start = event.pts if not self.done else start
            end = event.pts + event.duration
            if gop is None or event.pts - gop.pts[0] >= self.gop_ticks or len(gop.pts) >= self.gop_frames:
                if gop is not None:
                    self._close(gop, event.pts)
                gop = self._open(pool)
            gop.add(event)
            self.done += 1
            if len(gop.pending) == self.batch:
                self._analyse(gop)
                self.coding.progress(self.done, self.reader.frames_hint)
        if gop is not None:
            self._close(gop, end)
        return float((end - start) * self.format.time_base)

    def _open(self, pool: ThreadPoolExecutor) -> OpenGop:
        if self.replayed:
            return OpenGop(self.done, self.psnr_every, None, self.predictor.looks_back)
        while len(self.running) > self.coding.jobs:
            self._finish_oldest()
        channel: Channel[LatentBatch] = Channel(self.waiting)
        gop = OpenGop(self.done, self.psnr_every, channel, self.predictor.looks_back)
        self.running.append(gop)  # before it has a worker: an interruption in between must still stop that one
        gop.future = pool.submit(_work, self.choice, self.crew, self.thrifts, channel)
        return gop

    def _analyse(self, gop: OpenGop) -> None:
        """Send the pending pictures to the GOP's worker, whose own error comes first when it has failed."""
        if not gop.pending:
            return
        pictures = np.stack(gop.pending)
        if gop.channel is None:
            if not self.choice.coder.concurrent:  # what it learns on the way, later GOPs build on
                self.choice.coder.analyse(pictures)
            gop.pending, gop.sampled = [], []
            return
        sampled = np.array(gop.sampled, np.intp)
        batch = LatentBatch(self._latents(pictures), sampled, pictures[sampled])
        gop.pending, gop.sampled = [], []
        try:
            gop.channel.put(batch)
        except Stopped:
            gop.future.result()
            raise

    def _latents(self, pictures: Pictures) -> Callable[[], NDArray[Any]]:
        """What waits for the pictures' latents, which are being made in another thread where that gains time."""
        coder = self.choice.coder
        if coder.concurrent and self.coding.jobs > 1:
            return self.networks.submit(coder.analyse, pictures).result
        latents = coder.analyse(pictures)
        return lambda: latents

    def _close(self, gop: OpenGop, end: int) -> None:
        self._analyse(gop)
        # Here and not in the worker, which may be late: the same input must give the same bytes.
        gop.transform = self.choice.coder.additions()
        gop.pts.append(end)
        # Here, too: where a packet stands must not depend on how far the reader was ahead when the GOP was coded.
        until = end * self.format.time_base
        bases = [track.time_base for track in self.format.audio]
        gop.audio = [packet for packet in self.audio if packet.dts * bases[packet.stream] < until]
        self.audio = [packet for packet in self.audio if packet.dts * bases[packet.stream] >= until]
        if gop.channel is None:
            self._replay(gop)
        else:
            gop.channel.end()

    def _replay(self, gop: OpenGop) -> None:
        """Count a GOP that the file has already, with its audio."""
        entry = self.replayed_entries.popleft()
        if (entry.first_frame, entry.start, entry.end) != (gop.first, gop.pts[0], gop.pts[-1]):
            raise UsageError(f"{self.name}: its GOP of frame {gop.first} is not that of the input; remove it")
        self.psnr += self.replayed.popleft()
        self.repeats += sum(gop.repeats)

    def _finish_oldest(self) -> None:
        gop = self.running[0]
        coded = gop.future.result()
        self.running.popleft()
        self.repeats += sum(gop.repeats)
        self.psnr += coded.psnr.tolist()
        self.writer.add_gop(
            Gop(
                first_frame=gop.first,
                pts=np.array(gop.pts, np.int64),
                repeats=np.array(gop.repeats, np.bool_),
                codes_crc=coded.codes_crc,
                payload=coded.payload,
                quantizer=coded.quantizer,
                transform=gop.transform,
            )
        )
        self.writer.add_audio(gop.audio)
        if self.journal is not None:
            self.journal.record(self.writer.bytes_written, coded.psnr.tolist())

    def _report(self, duration: float, seconds: float) -> EncodeReport:
        coder, video = self.choice.coder, self.format
        mean = float(np.mean(self.psnr))
        advice = self.choice.unusual(mean)
        return EncodeReport(
            frames=self.done,
            repeats=self.repeats,
            width=video.width,
            height=video.height,
            duration=duration,
            transform=coder.transform.name,
            quantizer=coder.quantizer.name,
            predictor=self.predictor.name,
            model=self.choice.model.name if self.choice.model else None,
            reason=self.choice.reason,
            gops=len(self.writer.gops),
            bytes=self.writer.bytes_written,
            raw_bytes=self.done * video.width * video.height * 3,
            source_bytes=self.reader.source_bytes,
            psnr=mean,
            psnr_frames=len(self.psnr),
            seconds=seconds,
            warnings=[*self.reader.warnings, *filter(None, (advice, self.substitute))],
        )


def predictor_for(choice: Choice, wanted: str | None) -> tuple[Predictor, str | None]:
    """The predictor called `wanted`, or the best that readers will find the memory for; and a warning where that is
    not the one that suits the choice.
    """
    if wanted is not None:
        return get_predictor(wanted, choice.model), None
    predictive = choice.model is not None and choice.model.info.arch == PREDICTIVE
    names = (LearnedPredictor.name,) * predictive + (AdaptivePredictor.name, NonePredictor.name)
    reason: str | None = None
    for name in names:
        predictor = get_predictor(name, choice.model)
        try:
            check_grid(predictor, choice.coder.spec)
        except LimitError as error:
            reason = reason or str(error)
        else:
            return predictor, reason and f"coded with {name}: {reason}"
    return predictor, None  # whose encoder says what is too large


def _work(
    choice: Choice, predictor: Predictor, thrifts: Sequence[Thrift | None], channel: Channel[LatentBatch]
) -> CodedGop:
    try:
        return encode_gop(choice.coder, predictor, iter(channel), thrifts)
    except BaseException:
        channel.stop()  # so that whoever fills it does not wait for ever
        raise
