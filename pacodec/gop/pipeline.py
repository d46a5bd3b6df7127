"""Frames to GOPs, GOPs to chunks: the pipeline of threads between a video and a .pac file, in bounded memory."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from time import monotonic
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from pacodec import limits
from pacodec.common.media import AudioPacket, EncoderInput, Frame, Image, Pictures
from pacodec.common.metrics import Distortion
from pacodec.container import Gop, Header, Writer
from pacodec.container.encoding import EncodingRun
from pacodec.container.header import WRITER
from pacodec.engine import Prior
from pacodec.errors import EstimateError, LimitError, UsageError
from pacodec.gop.choose_transform import TransformChoice
from pacodec.gop.coding import CodedGop, GopEncoding, LatentBatch, encode_gop
from pacodec.gop.parallel import Channel, Stopped, cores
from pacodec.gop.priors import NONE, model_prior
from pacodec.gop.rate_distortion import candidates
from pacodec.gop.reference import Reference, choose_reference
from pacodec.gop.survey import Cutter, GopBounds, Survey
from pacodec.options import EncodeOptions
from pacodec.reports import EncodeReport, ProgressCallback
from pacodec.transforms.base import Parameters

BATCH_PIXELS = 1 << 19
"""Pixels analysed at a time: 16 frames of 160 x 200."""
WAITING_BYTES = 32 * limits.MIB
"""Latents and pictures that may wait for the engine, a GOP."""


class Journal(Protocol):
    """Keeps account of the GOPs of a file that may be gone on with later."""

    @property
    def done(self) -> Sequence[Distortion]:
        """The distortion of each GOP that an earlier run completed."""

    def record(self, end: int, distortion: Distortion) -> None:
        """The file is complete up to `end` by one more GOP."""


class GopBuilder:
    """A GOP while its frames still come in: its times, its repeats, its audio, the pictures not yet analysed.

    One without a `channel` is coded already.
    """

    def __init__(self, first: int, measure_every: int, channel: Channel[LatentBatch] | None = None) -> None:
        self.first, self.measure_every, self.channel = first, measure_every, channel
        self.pts: list[int] = []
        self.repeats: list[bool] = []
        self.audio: list[AudioPacket] = []
        self.transform: Parameters = {}
        self.pending: list[Image] = []
        self.measured: list[int] = []
        self.shown: list[int] = []
        """How often each of the measured pictures is shown."""
        self._measures = False
        self.future: Future[CodedGop] | None = None
        self.coded: CodedGop | None = None

    def add(self, frame: Frame, repeats: bool) -> None:
        """Take a frame; one that repeats its predecessor costs a flag and no more."""
        self.repeats.append(repeats)
        if not repeats:
            self._measures = len(self.pts) % self.measure_every == 0
            if self._measures:
                self.measured.append(len(self.pending))
                self.shown.append(0)
            self.pending.append(frame.rgb)
        if self._measures:
            self.shown[-1] += 1
        self.pts.append(frame.pts)

    def result(self) -> CodedGop:
        """The coded GOP; waits until it is there."""
        if self.coded is None:
            assert self.future is not None
            self.coded = self.future.result()
        return self.coded


class Pipeline(EncodingRun):
    """The state of one run: a GOP being filled, and GOPs in the works."""

    def __init__(
        self,
        reader: EncoderInput,
        choice: TransformChoice,
        options: EncodeOptions,
        file: BinaryIO,
        *,
        footage: Survey | None = None,
        progress: ProgressCallback = lambda done, total: None,
        journal: Journal | None = None,
    ) -> None:
        """With a `journal`, `file` goes on where that says: the GOPs that are done are read again, but not coded.

        `footage`: what is known of it beforehand, so that some GOPs may be the reference of the others.
        """
        super().__init__(reader, options, progress)
        self.choice, self.transform, self.jobs = choice, choice.transform, options.jobs or cores()
        self.warnings: list[str] = []
        self.encoding = GopEncoding(
            self.transform,
            self._prior(),
            candidates(choice.exchange, options.effort),
            fallback=options.coder is None,
        )
        self.reference: Reference | None = None
        if footage is not None and choice.model is None:
            self.reference = choose_reference(self.encoding, footage)
        if self.reference is not None:
            self.encoding = replace(self.encoding, prior=self.reference.prior)
        self.journal, self.name = journal, getattr(file, "name", "the file")
        self.replayed = deque(journal.done if journal else ())
        self.header = self._header()
        self.writer = self._open_writer(file)
        self.replayed_entries = deque(self.writer.gops)
        self.batch = max(1, BATCH_PIXELS // (self.format.width * self.format.height))
        spec, streams = self.transform.spec, self.transform.streams
        waiting = spec.size * (1 if streams else 4) + 3 * self.format.width * self.format.height
        self.waiting = max(2, WAITING_BYTES // (waiting * self.batch))
        self.cutter = Cutter(GopBounds.of(self.format, options.gop_seconds, None if streams else spec))
        every_frame = not spec.ordinal or options.min_psnr is not None  # a network would run once more for each
        self.measure_every = 1 if every_frame else max(1, round(self.format.frame_rate or 25))
        self.networks = ThreadPoolExecutor(self.jobs)
        self.running: deque[GopBuilder] = deque()
        self.gops = 0

    def run(self, events: Iterator[Frame | AudioPacket]) -> EncodeReport:
        """Encode what comes and finish the file."""
        began = monotonic()
        with self.networks, ThreadPoolExecutor(self.jobs) as pool:
            try:
                self._read(events, pool)
                while self.running:
                    self._finish_oldest()
            except BaseException:
                self.networks.shutdown(wait=False, cancel_futures=True)
                for gop in self.running:
                    if gop.channel is not None:
                        gop.channel.stop()
                raise
        self.finish()
        model, advice = self.choice.model, self.choice.unusual(self.distortion.psnr)
        return self.report(
            monotonic() - began,
            self.choice.reason,
            model=model.name if model else None,
            all_measured=self.measure_every == 1,
            warnings=[*self.warnings, *([advice] if advice else [])],
        )

    def _header(self) -> Header:
        return Header(
            writer=WRITER,
            video=self.format,
            grid=self.transform.spec,
            transform=self.transform.transform,
            quantizer=self.transform.quantizer,
            model=self.transform.model,
            reference=None if self.reference is None else self.reference.describe(),
        )

    def _prior(self) -> Prior | None:
        """What the engine knows before a GOP; None where it is not to be used, or readers would lack the memory."""
        if self.options.coder == NONE:
            return None
        try:
            return model_prior(self.choice.model, self.transform.spec)
        except LimitError as error:
            if self.options.coder is not None:
                raise
            self.warnings.append(f"coded with {NONE}: {error}")
            return None

    def _open_writer(self, file: BinaryIO) -> Writer:
        embedded = self.choice.model.data if self.options.embed_model and self.choice.model else None
        segments = [segment.data for segment in self.reference.segments] if self.reference else []
        return (Writer.resume if self.replayed else Writer)(file, self.header, embedded, segments)

    def _read(self, events: Iterator[Frame | AudioPacket], pool: ThreadPoolExecutor) -> None:
        """Take everything from the source."""
        gop: GopBuilder | None = None
        for frame in self.frames(events):
            begins = self.cutter.begins_gop(frame)
            if begins or gop is None:
                if gop is not None:
                    self._close(gop, frame.pts)
                gop = self._open(pool)
            gop.add(frame, repeats=not begins and not self.cutter.changed)
            if len(gop.pending) == self.batch:
                self._analyse(gop)
        if gop is not None:
            self._close(gop, self.end)

    def _open(self, pool: ThreadPoolExecutor) -> GopBuilder:
        number, self.gops, first = self.gops, self.gops + 1, self.done - 1
        if self.replayed:
            return GopBuilder(first, self.measure_every)
        while len(self.running) > self.jobs:
            self._finish_oldest()
        if self.reference is not None and number in self.reference.gops:
            gop = GopBuilder(first, self.measure_every)
            gop.coded = self.reference.gops[number]
            self.running.append(gop)
            return gop
        channel: Channel[LatentBatch] = Channel(self.waiting)
        gop = GopBuilder(first, self.measure_every, channel)
        self.running.append(gop)  # before it has a worker: an interruption in between must still stop that one
        gop.future = pool.submit(_work, self.encoding, channel)
        return gop

    def _analyse(self, gop: GopBuilder) -> None:
        """Send the pending pictures to the GOP's worker, whose own error comes first when it has failed."""
        if not gop.pending:
            return
        pictures = np.stack(gop.pending)
        if gop.channel is None:
            if not self.transform.concurrent:  # what it learns on the way, later GOPs build on
                self.transform.analyse(pictures)
            gop.pending, gop.measured = [], []
            return
        measured = np.array(gop.measured, np.intp)
        latents = self._latents(pictures)
        exact = self.choice.exchange is None and self.transform.exact
        originals = pictures if len(measured) == len(pictures) else pictures[measured]
        if exact:
            originals = np.empty((0, *pictures.shape[1:]), np.uint8)  # a view would hold the memory of all
        batch = LatentBatch(latents, measured, originals, exact)
        gop.pending, gop.measured = [], []
        try:
            gop.channel.put(batch)
        except Stopped:
            gop.result()
            raise

    def _latents(self, pictures: Pictures) -> Callable[[], NDArray[Any]]:
        """What waits for the pictures' latents, which are being made in another thread where that gains time."""
        if self.transform.concurrent and self.jobs > 1:
            return self.networks.submit(self.transform.analyse, pictures).result
        latents = self.transform.analyse(pictures)
        return lambda: latents

    def _close(self, gop: GopBuilder, end: int) -> None:
        self._analyse(gop)
        # Here and not in the worker, which may be late: the same input must give the same bytes.
        gop.transform = self.transform.additions()
        gop.pts.append(end)
        # Here, too: where a packet stands must not depend on how far the reader was ahead when the GOP was coded.
        gop.audio = self.take_audio(end)
        if gop.channel is not None:
            gop.channel.end()
        elif gop.coded is None:
            self._skip(gop)

    def _skip(self, gop: GopBuilder) -> None:
        """Count a GOP that the file has already, with its audio."""
        entry = self.replayed_entries.popleft()
        if (entry.first_frame, entry.start, entry.end) != (gop.first, gop.pts[0], gop.pts[-1]):
            raise UsageError(f"{self.name}: its GOP of frame {gop.first} is not that of the input; remove it")
        self.distortion += self.replayed.popleft()
        self.repeats += sum(gop.repeats)

    def _finish_oldest(self) -> None:
        gop = self.running[0]
        coded = gop.result()
        self.running.popleft()
        self.repeats += sum(gop.repeats)
        distortion = Distortion.of_errors(coded.errors, np.array(gop.shown, np.int64))
        self.distortion += distortion
        self.writer.add_gop(
            Gop(
                first_frame=gop.first,
                pts=np.array(gop.pts, np.int64),
                repeats=np.array(gop.repeats, np.bool_),
                codes_crc=coded.codes_crc,
                payload=coded.payload,
                quantizer=coded.quantizer,
                transform=gop.transform,
                coder=coded.coder,
            )
        )
        if self.writer.codes_bytes > self.choice.most:
            raise EstimateError(f"{self.name}: takes more than estimated, and than another way")
        self.writer.add_audio(gop.audio)
        if self.journal is not None:
            self.journal.record(self.writer.bytes_written, distortion)


def _work(encoding: GopEncoding, channel: Channel[LatentBatch]) -> CodedGop:
    try:
        return encode_gop(encoding, iter(channel))
    except BaseException:
        channel.stop()  # so that whoever fills it does not wait for ever
        raise
