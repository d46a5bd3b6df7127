"""A video to a .pac file whose GOPs hold packets: those of an encoder of ours, or those of the source."""

import math
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from fractions import Fraction
from time import monotonic
from typing import BinaryIO

import av
import numpy as np

from pacodec import limits
from pacodec.base_layer.colour import Colour
from pacodec.base_layer.decoding import payload_of, picture_spec
from pacodec.base_layer.encoders import CodedPictures, PictureCoder, QuantizerSearch, Settings, release_memory
from pacodec.base_layer.source_packets import SourcePackets, independent_groups, picture_crc
from pacodec.base_layer.stream import HIDDEN, SOURCE
from pacodec.common.media import AudioPacket, EncoderInput, Frame, Image
from pacodec.common.metrics import Distortion
from pacodec.container import Component, Gop, Header, Writer
from pacodec.container.encoding import EncodingRun
from pacodec.container.header import WRITER
from pacodec.errors import EstimateError
from pacodec.options import EncodeOptions
from pacodec.reports import EncodeReport, ProgressCallback
from pacodec.transforms.base import PICTURE

GOP_PIXELS = 160_000_000
"""Pixels of a GOP's pictures: about a second of decoding."""
GOP_SECONDS = 10.0
KEPT_BYTES = 256 * limits.MIB
"""Memory for the pictures of a GOP that may be coded once more."""
SHORT_GOP = 48
"""Pictures of a GOP of the source's packets, at least, where it has keyframes more often."""
TOO_LOW, TOO_HIGH = 0.15, 0.6
"""dB beside the target within which a first GOP is good enough; what follows is corrected by it."""
_LARGE, _PATIENCE = 1_500_000, 4
"""Pixels of a picture from which on it takes too long to be as exacting, and how many times more may be missed then."""
_WAY_TOO_LOW = 1.5
_MOST_PASSES, _MOST_PASSES_SMALL = 3, 6
_SMALL_GOP = 4_000_000
"""Pixels of a GOP up to which more passes take no time to speak of; few pixels follow the quantizer less closely."""
_MOST_DRIFT = 8.0
"""How far, in dB, a GOP makes up for those before it."""


@dataclass(frozen=True)
class BaseLayerPlan:
    """How a base layer stores the footage.

    `reason` is the line that tells what was chosen and what the others take. `settings` are None for the source's own
    packets; else the PSNR aimed at is `target` dB, and all packets may take `most` bytes.
    """

    coder: str
    colour: Colour
    pictures: CodedPictures
    reason: str = ""
    settings: Settings | None = None
    target: float = 0.0
    most: float = math.inf


@dataclass
class _Shown:
    """The frames of a GOP while they come: when each is shown, which repeat the one before."""

    first: int
    pts: list[int] = field(default_factory=list)
    repeats: list[bool] = field(default_factory=list)


class BaseLayerPipeline(EncodingRun):
    """One run of an encoder whose GOPs are packets."""

    def __init__(
        self,
        reader: EncoderInput,
        source: str,
        plan: BaseLayerPlan,
        options: EncodeOptions,
        file: BinaryIO,
        progress: ProgressCallback = lambda done, total: None,
    ) -> None:
        """UnsupportedError where the source's codec is none whose packets are kept."""
        super().__init__(reader, options, progress)
        self.source, self.plan = source, plan
        self.spec = picture_spec(self.format.height, self.format.width)
        self.packets = SourcePackets(source) if plan.coder == SOURCE else None
        stream = plan.pictures.stream() if self.packets is None else self.packets.stream(plan.colour)
        self.stream = stream
        self.header = Header(
            writer=WRITER,
            video=self.format,
            grid=self.spec,
            transform=Component(PICTURE, {plan.coder: stream.to_dict()}),
            quantizer=Component("none"),
        )
        self.writer = Writer(file, self.header)

    def run(self, events: Iterator[Frame | AudioPacket]) -> EncodeReport:
        """Encode what comes and finish the file. EstimateError where that does not serve."""
        began = monotonic()
        if self.packets is None:
            self._code(events)
        else:
            with closing(self.packets):
                self._keep(events, self.packets)
        self.finish()
        return self.report(monotonic() - began, self.plan.reason)

    def _keep(self, events: Iterator[Frame | AudioPacket], packets: SourcePackets) -> None:
        """Store the source's packets, and see that they decode to what the reader shows."""
        times: deque[tuple[int, int]] = deque()

        def pictures() -> Iterator[int]:
            for frame in self.frames(events):
                times.append((frame.pts, frame.pts + frame.duration))
                yield picture_crc(frame.rgb)

        for group in independent_groups(self.stream, iter(packets), pictures(), SHORT_GOP):
            shown = [times.popleft() for _ in range(group.frames)]
            gop = _Shown(self.writer.frames, [pts for pts, _ in shown], [False] * group.frames)
            self._write(
                gop, times[0][0] if times else shown[-1][1], payload_of(SOURCE, group.packets), group.crc, group.hidden
            )
            self.distortion += Distortion(group.frames)

    def _code(self, events: Iterator[Frame | AudioPacket]) -> None:
        """Code GOP after GOP, each with the quantizer that brings all so far to the target."""
        bounds = self._bounds()
        last: Image | None = None
        gop: _CodedGop | None = None
        for frame in self.frames(events):
            if gop is None or gop.is_full(frame, *bounds):
                if gop is not None:
                    self._close(gop, frame.pts)
                gop = _CodedGop(self, _Shown(self.done - 1), keep=self.options.effort > 1)
                last = None
            repeated = last is not None and np.array_equal(last, frame.rgb)
            gop.add(frame, repeated=repeated)
            last = frame.rgb
        if gop is not None:
            self._close(gop, self.end)

    def _bounds(self) -> tuple[int, int]:
        """Frames and ticks of a GOP, at most."""
        frames = max(1, GOP_PIXELS // (self.format.width * self.format.height))
        seconds = Fraction(self.options.gop_seconds or GOP_SECONDS).limit_denominator(10**6)
        return min(frames, limits.MAX_GOP_FRAMES), max(1, int(seconds / self.format.time_base))

    def new_coder(self, settings: Settings) -> PictureCoder:
        """An encoder of the plan's codec for one GOP."""
        video = self.format
        return PictureCoder(self.plan.pictures, settings, video.width, video.height, video.frame_rate)

    def _close(self, gop: "_CodedGop", end: int) -> None:
        coder = gop.finish()
        release_memory()
        self.distortion += coder.distortion
        self.repeats += sum(gop.shown.repeats)
        assert self.plan.settings is not None
        drift = max(-_MOST_DRIFT, min(_MOST_DRIFT, self.distortion.psnr - self.plan.target))
        encoder = coder.settings.encoder
        wanted = encoder.quantizer(coder.settings.quantizer + drift / gop.slope)
        settings = replace(coder.settings, quantizer=wanted)
        self.plan = replace(self.plan, settings=settings)
        self._write(gop.shown, end, payload_of(self.plan.coder, coder.packets), coder.crc, ())
        if self.writer.codes_bytes > self.plan.most:
            raise EstimateError(f"{self.source}: {self.plan.coder} takes more than another way")

    def _write(self, shown: _Shown, end: int, payload: bytes, crc: int, hidden: tuple[int, ...]) -> None:
        params = {HIDDEN: list(hidden)} if hidden else {}
        self.writer.add_gop(
            Gop(
                first_frame=shown.first,
                pts=np.array([*shown.pts, end], np.int64),
                repeats=np.array(shown.repeats, np.bool_),
                codes_crc=crc,
                payload=payload,
                quantizer={},
                transform={},
                coder=Component(self.plan.coder, params),
            )
        )
        self.writer.add_audio(self.take_audio(end))


class _CodedGop:
    """A GOP that is coded while its frames come, and once more where it misses the quality."""

    def __init__(self, pipeline: BaseLayerPipeline, shown: _Shown, *, keep: bool) -> None:
        settings = pipeline.plan.settings
        assert settings is not None
        self.shown = shown
        self._pipeline, self._settings = pipeline, settings
        self._search = QuantizerSearch(settings.encoder, pipeline.plan.target)
        self._coder = pipeline.new_coder(settings)
        self._kept: list[tuple[av.VideoFrame | None, Image | None]] | None = [] if keep else None
        self._kept_bytes = 0
        large = pipeline.format.width * pipeline.format.height >= _LARGE
        self._low, self._high = (_PATIENCE * TOO_LOW, _PATIENCE * TOO_HIGH) if large else (TOO_LOW, TOO_HIGH)
        if shown.first:
            self._low, self._high = _WAY_TOO_LOW, math.inf

    @property
    def slope(self) -> float:
        """dB lost for each step of the quantizer."""
        return self._search.slope if self._search.tried else self._settings.encoder.slope

    def is_full(self, frame: Frame, frames: int, ticks: int) -> bool:
        """Whether a frame begins another GOP."""
        return len(self.shown.pts) >= frames or frame.pts - self.shown.pts[0] >= ticks

    def add(self, frame: Frame, *, repeated: bool) -> None:
        """Code a frame, which may repeat the one before."""
        self.shown.pts.append(frame.pts)
        self.shown.repeats.append(repeated)
        own = self._pipeline.plan.pictures.takes(frame.native)
        coded = (None, None) if repeated else (frame.native, None) if own else (None, frame.rgb)
        _push(self._coder, *coded)
        if self._kept is None:
            return
        if not repeated:
            self._kept_bytes += _kept_bytes(*coded)
        if self._kept_bytes > KEPT_BYTES:
            self._kept = None
        else:
            self._kept.append(coded)

    def finish(self) -> PictureCoder:
        """The coder of the pass whose quality is nearest to the target from above, or else nearest."""
        best = self._coder
        best.finish()
        self._note(best)
        target = self._pipeline.plan.target
        pixels = len(self.shown.pts) * self._pipeline.format.width * self._pipeline.format.height
        passes = _MOST_PASSES_SMALL if pixels <= _SMALL_GOP else _MOST_PASSES
        while self._kept is not None and len(self._search.tried) < passes:
            missed = best.distortion.psnr - target
            if -self._low <= missed <= self._high:
                break
            wanted = self._search.next()
            if any(wanted == quantizer for quantizer, _ in self._search.tried):
                break
            coder = self._pipeline.new_coder(replace(self._settings, quantizer=wanted))
            for frame, rgb in self._kept:
                _push(coder, frame, rgb)
            coder.finish()
            self._note(coder)
            best = min(best, coder, key=lambda each: _badness(each.distortion.psnr - target))
        self._kept = None
        return best

    def _note(self, coder: PictureCoder) -> None:
        self._search.tried.append((coder.settings.quantizer, coder.distortion.psnr))


def _badness(missed: float) -> float:
    """How bad it is to miss the target by so many dB: below it worse than above."""
    return missed if missed >= -TOO_LOW else -4 * missed


def _push(coder: PictureCoder, frame: av.VideoFrame | None, rgb: Image | None) -> None:
    """Code a picture, given as decoded or as RGB; neither repeats the last one."""
    if frame is None and rgb is None:
        coder.repeat()
    else:
        coder.push(frame, rgb)


def _kept_bytes(frame: av.VideoFrame | None, rgb: Image | None) -> int:
    planes = 0 if frame is None else sum(plane.buffer_size for plane in frame.planes)
    return planes + (0 if rgb is None else rgb.nbytes)
