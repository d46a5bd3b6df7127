"""Frames to GOPs, GOPs to chunks: the pipeline of threads between a video and a .pac file, in bounded memory."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from fractions import Fraction
from time import monotonic
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pacodec import limits
from pacodec.ahead import Channel, Stopped
from pacodec.blas import one_thread
from pacodec.choose import Choice
from pacodec.container import Component, Gop, Header, Writer
from pacodec.gops import CodedGop, LatentBatch, encode_gop
from pacodec.media import AudioPacket, Frame, Image
from pacodec.metadata import WRITER
from pacodec.predictors import get_predictor
from pacodec.predictors.adaptive import AdaptivePredictor
from pacodec.predictors.base import Predictor
from pacodec.predictors.learned import PREDICTIVE, LearnedPredictor
from pacodec.quantizers import Parameters
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


class Pipeline:
    """The state of one run: a GOP being filled, GOPs in the works, audio that waits for them."""

    def __init__(self, reader: VideoReader, choice: Choice, coding: Coding, file: BinaryIO) -> None:
        self.reader, self.choice, self.coding = reader, choice, coding
        self.format = reader.format if coding.audio else replace(reader.format, audio=())
        coder = choice.coder
        self.predictor = predictor_for(choice, coding.predictor)
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
        self.writer = Writer(file, header, embedded)
        self.batch = max(1, BATCH_PIXELS // (self.format.width * self.format.height))
        values = coder.spec.size * (1 if coder.streams else 4)
        self.waiting = max(2, WAITING_BYTES // (values * self.batch))
        gop_ticks = Fraction(coding.gop_seconds).limit_denominator(10**6) / self.format.time_base
        self.gop_ticks = max(1, int(gop_ticks))
        self.gop_frames = limits.MAX_GOP_FRAMES if coder.streams else max(1, COLLECTED_BYTES // values)
        self.psnr_every = 1 if coding.min_psnr is not None else max(1, round(self.format.frame_rate or 25))
        self.networks = ThreadPoolExecutor(coding.jobs)
        self.running: deque[_OpenGop] = deque()
        self.audio: list[AudioPacket] = []
        self.psnr: list[float] = []
        self.repeats = self.done = 0

    def run(self, events: Iterator[Frame | AudioPacket]) -> EncodeReport:
        """Encode what comes and finish the file."""
        began = monotonic()
        with one_thread(), self.networks, ThreadPoolExecutor(self.coding.jobs) as pool:
            try:
                end = self._read(events, pool)
                while self.running:
                    self._finish_oldest()
            except BaseException:
                self.networks.shutdown(wait=False, cancel_futures=True)
                for gop in self.running:
                    gop.channel.stop()
                raise
        self.writer.add_audio(self.audio)
        self.writer.close(self.reader.source_bytes)
        return self._report(end, monotonic() - began)

    def _read(self, events: Iterator[Frame | AudioPacket], pool: ThreadPoolExecutor) -> float:
        """Take everything from the source; the duration in seconds."""
        gop: _OpenGop | None = None
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

    def _open(self, pool: ThreadPoolExecutor) -> "_OpenGop":
        while len(self.running) > self.coding.jobs:
            self._finish_oldest()
        channel: Channel[LatentBatch] = Channel(self.waiting)
        gop = _OpenGop(self.done, self.psnr_every, channel)
        self.running.append(gop)  # before it has a worker: an interruption in between must still stop that one
        gop.future = pool.submit(_work, self.choice, self.predictor, channel)
        return gop

    def _analyse(self, gop: "_OpenGop") -> None:
        """Send the pending pictures to the GOP's worker, whose own error comes first when it has failed."""
        if not gop.pending:
            return
        pictures = np.stack(gop.pending)
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

    def _close(self, gop: "_OpenGop", end: int) -> None:
        self._analyse(gop)
        # Here and not in the worker, which may be late: the same input must give the same bytes.
        gop.transform = self.choice.coder.additions()
        gop.pts.append(end)
        gop.channel.end()

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
        end = gop.pts[-1] * self.format.time_base
        bases = [track.time_base for track in self.format.audio]
        ready = [packet for packet in self.audio if packet.dts * bases[packet.stream] < end]
        self.audio = [packet for packet in self.audio if packet.dts * bases[packet.stream] >= end]
        self.writer.add_audio(ready)

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
            gops=self.writer.gops,
            bytes=self.writer.bytes_written,
            raw_bytes=self.done * video.width * video.height * 3,
            source_bytes=self.reader.source_bytes,
            psnr=mean,
            psnr_frames=len(self.psnr),
            seconds=seconds,
            warnings=self.reader.warnings + ([advice] if advice else []),
        )


class _OpenGop:
    """A GOP that is being filled: its timestamps, its repeats, and the pictures not yet analysed."""

    future: "Future[CodedGop]"

    def __init__(self, first: int, psnr_every: int, channel: Channel[LatentBatch]) -> None:
        self.first, self.psnr_every, self.channel = first, psnr_every, channel
        self.pts: list[int] = []
        self.repeats: list[bool] = []
        self.transform: Parameters = {}
        self.pending: list[Image] = []
        self.sampled: list[int] = []
        self._last: Image | None = None

    def add(self, frame: Frame) -> None:
        """Take a frame; one equal to its predecessor costs a flag and nothing else."""
        repeat = self._last is not None and np.array_equal(frame.rgb, self._last)
        self.repeats.append(repeat)
        if not repeat:
            if len(self.pts) % self.psnr_every == 0:
                self.sampled.append(len(self.pending))
            self.pending.append(frame.rgb)
            self._last = frame.rgb
        self.pts.append(frame.pts)


def predictor_for(choice: Choice, wanted: str | None) -> Predictor:
    """The predictor called `wanted`, or what suits the choice."""
    predictive = choice.model is not None and choice.model.info.arch == PREDICTIVE
    return get_predictor(wanted or (LearnedPredictor.name if predictive else AdaptivePredictor.name), choice.model)


def _work(choice: Choice, predictor: Predictor, channel: Channel[LatentBatch]) -> CodedGop:
    try:
        return encode_gop(choice.coder, predictor, iter(channel), choice.thrift)
    except BaseException:
        channel.stop()  # so that whoever fills it does not wait for ever
        raise
