"""Packets of our own: AV1 by SVT-AV1, or H.264 where chroma is not halved, as GOPs of known PSNR."""

import ctypes
import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import av
from av.error import FFmpegError
from av.packet import Packet

from pacodec.base_layer.colour import LOCATIONS, Colour
from pacodec.base_layer.source_packets import picture_crc
from pacodec.base_layer.stream import AV1, H264, CodedStream, StoredPacket
from pacodec.common.media import ColorTags, Image
from pacodec.common.metrics import Distortion
from pacodec.errors import EstimateError
from pacodec.video.color import YuvConverter, color_tags

LADDER = {1: 32.0, 2: 35.0, 3: 38.0, 4: 42.0, 5: 46.0}
"""dB of PSNR in RGB, pooled over all frames, that the qualities 1 to 5 aim at, whatever codes the pictures."""
DEFAULT_QUALITY = 3
"""Of footage that no palette holds."""

_BT709 = ColorTags(range=1, matrix=1, primaries=1, transfer=1)
_MAX_RATE = 240
_USUAL_RATE = Fraction(30)
_GOP_SIZE = 1 << 20
"""Frames between keyframes, more than a GOP has: the first is the only one."""


@dataclass(frozen=True)
class Encoder:
    """A standard encoder and its scale of quality.

    `formats` are FFmpeg's names of what it codes, in pictures whose sides have at least `least_side` pixels; the
    quantizer runs from 1 to `worst` in `step`s, `start` being where a search begins; `slope` is about how many dB a
    whole step costs, `halving` about how many dB half the bytes cost.
    """

    codec: str
    name: str
    formats: tuple[str, ...]
    least_side: int
    start: float
    worst: float
    step: float
    slope: float
    halving: float = 5.0

    def takes(self, pixel_format: str, height: int, width: int) -> bool:
        """Whether this encoder takes pictures of that size."""
        return pixel_format in self.formats and min(height, width) >= self.least_side

    def quantizer(self, value: float) -> float:
        """The nearest value of the quantizer that the encoder takes and that gives no lower quality."""
        return min(self.worst, max(1.0, math.floor(value / self.step) * self.step))


_HALVED_CHROMA = ("yuv420p", "yuv420p10le")
_FULL_CHROMA = ("yuv444p", "yuv422p", "yuv444p10le", "yuv422p10le")
# SVT-AV1 takes smaller pictures, too, and waits for ever at the end of some of them.
_SVT_AV1 = Encoder(AV1, "libsvtav1", _HALVED_CHROMA, least_side=64, start=40, worst=70, step=0.25, slope=0.25)
_X264 = Encoder(H264, "libx264", _HALVED_CHROMA + _FULL_CHROMA, least_side=1, start=25, worst=51, step=0.5, slope=0.9)
ENCODERS = (_SVT_AV1, _X264)
"""In order of preference."""

FAST_EFFORT, USUAL_EFFORT = 1, 2
_FAST_PRESET, _FASTER_PRESET = 8, 10
_PRESETS = {FAST_EFFORT: 7, USUAL_EFFORT: 4}
_SLOW_PRESET = 2
_SMALL, _SMALL_SCREEN, _LARGE, _HUGE = 500_000, 1_200_000, 1_500_000, 6_000_000
"""Pixels of a picture up to which a slower preset than usual is affordable, in general and for screens; above which a
faster one is needed; and above which fewer pictures may be held at a time."""
_SCREEN_GAIN = 0.88
"""SVT-AV1's tools for screen content are used where they leave at most so much of the bytes: they take their time."""


@dataclass(frozen=True)
class Settings:
    """How an encoder codes: quantizer, SVT-AV1's preset (0 slowest, 13 fastest), its tools for screen content."""

    encoder: Encoder
    quantizer: float
    preset: int = _FAST_PRESET
    screen: bool = False
    sparing: bool = False
    """Whether SVT-AV1 is to hold few pictures, and those one at a time: huge ones take 1 GB and more otherwise."""
    single: bool = False
    """Whether it is to work on one picture at a time: the same bytes, less memory, more time."""

    @property
    def options(self) -> dict[str, str]:
        """The options that FFmpeg's encoder gets."""
        if self.encoder.codec == AV1:
            parameters = f"crf={self.quantizer:.2f}:scm={int(self.screen)}"
            if self.sparing:
                parameters += ":hierarchical-levels=2"
            if self.sparing or self.single:
                parameters += ":lp=1"
            return {"preset": str(self.preset), "svtav1-params": parameters}
        preset = "veryslow" if self.preset <= _PRESETS[USUAL_EFFORT] else "medium"
        return {"preset": preset, "crf": f"{self.quantizer:.1f}", "tune": "psnr", "bf": "8", "sc_threshold": "0"}

    def slower(self, effort: int, pixels: int) -> "Settings":
        """The same for coding in earnest pictures of so many pixels."""
        preset = _PRESETS.get(effort, _SLOW_PRESET)
        if effort == USUAL_EFFORT and pixels <= (_SMALL_SCREEN if self.screen else _SMALL):
            preset -= 1
        if pixels > _LARGE:
            preset += 1 + self.sparing
        return replace(self, preset=preset)


class CodedPictures:
    """What is coded of a source: its own samples where an encoder takes those, else its RGB as BT.709."""

    def __init__(self, first: av.VideoFrame | None, height: int, width: int, *, full_chroma: bool = False) -> None:
        """`first`: a frame as decoded, None where only its RGB serves; `full_chroma`: that becomes 4:4:4, not 4:2:0."""
        colour = None if first is None else Colour.of(first)
        self.own = colour is not None and any(colour.pixel_format in each.formats for each in ENCODERS)
        """Whether the source's own samples are coded."""
        converted = Colour((_FULL_CHROMA if full_chroma else _HALVED_CHROMA)[0], _BT709.matrix, full_range=False)
        self.colour = colour if colour and self.own else converted
        """How they become RGB."""
        self.encoder = next(each for each in ENCODERS if each.takes(self.colour.pixel_format, height, width))
        self.tags = color_tags(first) if first is not None and self.own else _BT709
        """What players are told of the colours."""
        self._convert = YuvConverter(self.colour.pixel_format, _BT709)

    def stream(self) -> CodedStream:
        """The description of the stream that these pictures make."""
        return CodedStream(self.encoder.codec, self.colour, 1 / _USUAL_RATE)

    def frame(self, frame: av.VideoFrame | None, rgb: Image | None) -> av.VideoFrame:
        """What to code of a picture, given as decoded where the source's own samples are coded, else as RGB."""
        if frame is not None and self.takes(frame):
            return frame
        assert rgb is not None
        return self._convert(rgb)

    def kept(self, frame: av.VideoFrame | None, rgb: Image) -> tuple[av.VideoFrame | None, Image]:
        """What to keep of a picture, given as decoded and as RGB: samples that are not coded only take memory."""
        return frame if self.takes(frame) else None, rgb

    def takes(self, frame: av.VideoFrame | None) -> bool:
        """Whether the samples of a decoded frame are coded as they are."""
        return self.own and frame is not None and self.colour.matches(frame)


class PictureCoder:
    """Codes the pictures of a closed GOP as they come, decodes them beside that, and measures what decoding gives."""

    def __init__(
        self, pictures: CodedPictures, settings: Settings, width: int, height: int, frame_rate: Fraction | None
    ) -> None:
        """EstimateError where the encoder is not there or does not take such pictures."""
        self.settings = settings
        self.packets: list[StoredPacket] = []
        self.distortion = Distortion()
        self.crc = 0
        """CRC-32 of all decoded pictures so far."""
        self._pictures, self._count, self._last = pictures, 0, Distortion()
        self._encoder = _open_encoder(pictures, settings, width, height, frame_rate)
        self._decoder = pictures.stream().decoder()
        self._waiting: deque[tuple[av.VideoFrame | None, Image | None, int]] = deque()

    @property
    def bytes(self) -> int:
        """Bytes of the packets so far."""
        return sum(len(packet.data) for packet in self.packets)

    def push(self, frame: av.VideoFrame | None, rgb: Image | None) -> None:
        """Code a picture, given as decoded where the source's own samples are coded, else as RGB."""
        coded = self._pictures.frame(frame, rgb)
        # The RGB of what waits to be compared is made once more then: samples take half the memory.
        self._waiting.append((coded, None, 1) if coded is frame else (None, rgb, 1))
        coded.pts, coded.time_base = self._count, self._encoder.time_base
        coded.pict_type = 0  # or the source's keyframes would be ours
        self._count += 1
        self._take(self._encoder.encode(coded))

    def repeat(self) -> None:
        """Take note that the last picture is shown once more."""
        if self._waiting:
            frame, rgb, shown = self._waiting.pop()
            self._waiting.append((frame, rgb, shown + 1))
        else:
            self.distortion += self._last

    def finish(self) -> None:
        """Code what is left; what was coded stays, the encoder does not."""
        self._take(self._encoder.encode(None))
        self._compare(self._decoder.decode(None))
        del self._encoder, self._decoder

    def _take(self, packets: "Iterable[Packet[Any]]") -> None:
        for packet in packets:
            # Without times but the place among the pictures: the container has the times of those.
            stored = StoredPacket(bytes(packet), packet.pts, keyframe=packet.is_keyframe)
            self.packets.append(stored)
            self._compare(self._decoder.decode(stored.to_packet()))

    def _compare(self, frames: Iterable[av.VideoFrame]) -> None:
        for decoded in frames:
            frame, rgb, shown = self._waiting.popleft()
            original = self._pictures.colour.rgb(frame) if frame is not None else rgb
            assert original is not None
            made = self._pictures.colour.rgb(decoded)
            self.crc = picture_crc(made, self.crc)
            self._last = Distortion.of(original[None], made[None])
            for _ in range(shown):
                self.distortion += self._last


def _open_encoder(
    pictures: CodedPictures, settings: Settings, width: int, height: int, frame_rate: Fraction | None
) -> av.VideoCodecContext:
    os.environ.setdefault("SVT_LOG", "0")  # or it writes its settings to standard error
    rate = frame_rate if frame_rate and 1 <= frame_rate <= _MAX_RATE else _USUAL_RATE
    try:
        context = av.CodecContext.create(settings.encoder.name, "w")
        assert isinstance(context, av.VideoCodecContext)
        context.width, context.height, context.pix_fmt = width, height, pictures.colour.pixel_format
        context.time_base, context.framerate = 1 / rate, rate
        context.color_range, context.colorspace = pictures.tags.range, pictures.tags.matrix
        context.color_primaries, context.color_trc = pictures.tags.primaries, pictures.tags.transfer
        context.gop_size = _GOP_SIZE
        # Or players of the packets would put the chroma elsewhere than the source has it.
        location = LOCATIONS.get(pictures.colour.siting)
        context.options = settings.options | ({"chroma_sample_location": location} if location else {})
        context.open()
    except (ValueError, FFmpegError) as error:
        raise EstimateError(f"{settings.encoder.name} does not take pictures of {width}x{height}") from error
    return context


def release_memory() -> None:
    """Hand back to the system what encoders gave up: glibc keeps it, some 100 MB a time where pictures are large."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


Stretch = Sequence[tuple[av.VideoFrame | None, Image]]
"""Some pictures in a row: as decoded, None where that does not serve, and as RGB uint8 [H, W, 3]."""


@dataclass(frozen=True)
class EncoderTrial:
    """What settings came to on stretches of footage: pooled PSNR in dB, bytes of a keyframe and of any other frame."""

    settings: Settings
    psnr: float
    key_bytes: float
    frame_bytes: float

    def bytes(self, frames: int, gops: int) -> float:
        """The bytes that so many frames in so many GOPs will take."""
        return gops * self.key_bytes + max(0, frames - gops) * self.frame_bytes


@dataclass
class QuantizerSearch:
    """Looks for the quantizer that reaches a PSNR in dB, by the line through what was tried."""

    encoder: Encoder
    target: float
    tried: list[tuple[float, float]] = field(default_factory=list)
    """Quantizers and the PSNR they gave."""

    @property
    def slope(self) -> float:
        """dB lost for each step of the quantizer around the target, within reason."""
        (low, better), (high, worse) = sorted(self._around())
        if high - low < 1:
            return self.encoder.slope
        return min(_STEEP * self.encoder.slope, max(self.encoder.slope / _STEEP, (better - worse) / (high - low)))

    def next(self) -> float:
        """The quantizer that should reach the target."""
        if not self.tried:
            return self.encoder.start
        quantizer, reached = self._around()[0]
        return self.encoder.quantizer(quantizer + (reached - self.target) / self.slope)

    def _around(self) -> list[tuple[float, float]]:
        """Two trials, the nearer first: on either side of the target where there are such, else the nearest."""
        near = sorted(self.tried, key=lambda pair: abs(pair[1] - self.target))
        other = [pair for pair in near if (pair[1] < self.target) != (near[0][1] < self.target)]
        return [near[0], (other or near[1:] or near)[0]]


_MOST_TRIALS, _NEAR, _STEEP = 5, 0.3, 5


def estimate(
    stretches: Sequence[Stretch],
    target: float,
    effort: int,
    frame_rate: Fraction | None,
    pictures: CodedPictures,
    hopeless: Callable[[EncoderTrial], bool] = lambda trial: False,
) -> EncoderTrial:
    """The settings that reach `target` dB on the stretches, and what they take; EstimateError as `PictureCoder`.

    `hopeless` says of a fast preset's trial whether it needs no closer look.
    """
    height, width = stretches[0][0][1].shape[:2]

    def code(stretch: Stretch, settings: Settings) -> tuple[Distortion, int, int]:
        coder = PictureCoder(pictures, settings, width, height, frame_rate)
        for frame, rgb in stretch:
            coder.push(frame, rgb)
        coder.finish()
        return coder.distortion, len(coder.packets[0].data), coder.bytes

    def trial(settings: Settings) -> EncoderTrial:
        lost = Distortion()
        keys = others = 0
        for stretch in stretches:
            distortion, key, whole = code(stretch, settings)
            release_memory()
            lost += distortion
            keys += key
            others += whole - key
        frames = sum(len(stretch) - 1 for stretch in stretches)
        return EncoderTrial(settings, lost.psnr, keys / len(stretches), others / max(1, frames))

    encoder, pixels = pictures.encoder, height * width
    search = QuantizerSearch(encoder, target)
    preset = _FAST_PRESET if pixels <= _SMALL_SCREEN else _FASTER_PRESET
    release_memory()
    best = trial(Settings(encoder, encoder.start, preset, sparing=pixels > _HUGE, single=pixels > _LARGE))
    if encoder.codec == AV1:
        best = min(best, trial(replace(best.settings, screen=True)), key=lambda way: _cost(way, len(stretches[0])))
    search.tried.append((best.settings.quantizer, best.psnr))
    while len(search.tried) < _MOST_TRIALS and abs(best.psnr - target) > _NEAR:
        wanted = search.next()
        if any(wanted == quantizer for quantizer, _ in search.tried):
            break
        best = trial(replace(best.settings, quantizer=wanted))
        search.tried.append((wanted, best.psnr))
    # A slower preset keeps the slope and moves the level.
    settings = replace(best.settings, quantizer=search.next()).slower(effort, pixels)
    slow, slope = best if hopeless(best) else trial(settings), search.slope
    wanted = encoder.quantizer(slow.settings.quantizer + (slow.psnr - target) / slope)
    moved = (slow.settings.quantizer - wanted) * slope
    gain = 2 ** (moved / encoder.halving)
    settings = replace(settings, quantizer=wanted, single=False)
    return EncoderTrial(settings, slow.psnr + moved, slow.key_bytes * gain, slow.frame_bytes * gain)


def _cost(way: EncoderTrial, frames: int) -> float:
    """Bytes at equal PSNR, so weighed that what takes longer must gain."""
    least = way.bytes(frames, 1) * 2 ** (-way.psnr / way.settings.encoder.halving)
    return least / _SCREEN_GAIN if way.settings.screen else least
