"""Whether a base layer stores the footage, and which: measured on short stretches, against what code grids take."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from enum import Enum, auto
from fractions import Fraction
from itertools import chain, islice
from statistics import mean
from typing import NamedTuple

import av
from av.codec import Codec
from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream

from pacodec.base_layer.colour import Colour
from pacodec.base_layer.encoders import DEFAULT_QUALITY, LADDER, CodedPictures, EncoderTrial, Stretch, estimate
from pacodec.base_layer.pipeline import GOP_PIXELS, GOP_SECONDS, BaseLayerPlan
from pacodec.base_layer.stream import AV1, DECODERS, H264, SOURCE
from pacodec.common.media import Frame, Image, VideoFormat
from pacodec.errors import EstimateError
from pacodec.options import EncodeOptions
from pacodec.video.color import RgbConverter, has_alpha
from pacodec.video.demuxer import FfmpegSource
from pacodec.video.reader import VideoReader, open_frame_source
from pacodec.video.source import DEFAULT_RATE, open_video

EXACT_QUALITY = 4
"""The lowest quality that keeps exact what code grids hold exactly, and the default where a source is exact."""
STRETCHES = 2
STRETCH_FRAMES, STRETCH_PIXELS = 16, 17_000_000
"""Pictures of a stretch, and their pixels, at most."""
WHOLE_PIXELS = 4_000_000
"""Pixels of footage that is coded as a whole in place of stretches."""
_REACH_PIXELS = 300_000_000
"""Pixels that are decoded, at most, to reach the middle of the footage from the keyframe before it."""
_OVERHEAD = 600
"""Bytes of a file beside its GOPs, about."""
_FLOOR_MARGIN = 0.1
"""dB that are aimed at above a floor."""
_TOLERANCE = 1.05
"""Times that an estimate may be exceeded before another way is tried."""
_SHORT = 1.0
"""dB below the target at which a way does not serve."""
_HOPELESS = 3
"""Times as many bytes as another way takes from which on a slower preset cannot make good."""
_UNKNOWN_FRAMES = 1000
"""Frames that a pipe is held to bring."""
_KILO, _MEGA = 1000, 1_000_000


@dataclass(frozen=True)
class SourceProbe:
    """What is known of a source beforehand.

    `packet_bytes` are those of its video packets, None where these are not kept; `colour` is how its own samples become
    RGB, None where that is not known; `lossy` says that its codec is. `activity` is how many times more bytes its
    packets have on average than those of the stretches, which may miss what is busy.
    """

    frames: int
    seconds: float
    frame_rate: Fraction | None
    lossy: bool
    packet_bytes: int | None
    colour: Colour | None
    stretches: list[Stretch]
    pictures: CodedPictures
    activity: float = 1.0

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a picture."""
        height, width = self.stretches[0][0][1].shape[:2]
        return height, width

    @property
    def gops(self) -> int:
        """The number of GOPs that its packets will make, about."""
        height, width = self.size
        return max(1, int(-(-self.frames * height * width // GOP_PIXELS)), round(self.seconds / GOP_SECONDS))


@dataclass(frozen=True)
class GridTrial:
    """What code grids come to: bytes of the whole footage as estimated, PSNR in dB, whether all comes back exactly."""

    bytes: float
    psnr: float
    exact: bool


class Untried(Enum):
    """Why code grids were not tried."""

    KNOWN = auto()
    """A model knows the footage, beside which nothing needs to be tried."""
    HOPELESS = auto()
    """They cannot be what is smallest."""


GridTrials = Callable[[SourceProbe], GridTrial | Untried]
"""Tries code grids on footage."""


class _Packet(NamedTuple):
    """One of a source's video packets: its time in ticks, its bytes."""

    pts: int | None
    size: int
    keyframe: bool


@dataclass(frozen=True)
class Decision:
    """Base layers that are smaller than code grids, the smallest first, and others that are not.

    Code grids may take `most` bytes, or the others are better; `line` says what all would take.
    """

    plans: list[BaseLayerPlan]
    others: list[BaseLayerPlan]
    most: float
    line: str


def probe(source: str, frame_rate: Fraction | None = None) -> SourceProbe:
    """Read a source's packets, where FFmpeg reads it, and some of its pictures; errors as of `VideoReader`."""
    packets, codec, rate = _packets(source, frame_rate)
    with VideoReader(source, frame_rate) as reader:
        rate = rate or reader.format.frame_rate
        frames = len(packets) or reader.frames_hint or 1
        shown = reader.frames()
        head = next(shown)
        own = head.native
        pictures = CodedPictures(own, *head.rgb.shape[:2])
        rest = islice(shown, _length(reader.format, frames) - 1)
        first = [pictures.kept(frame.native, frame.rgb) for frame in chain([head], rest)]
    stretches: list[Stretch] = [first]
    starts = [min((packet.pts for packet in packets if packet.pts is not None), default=None)]
    if packets and frames > STRETCHES * len(first):
        start, second = _middle(source, len(first), pictures)
        if len(second) > 1:
            stretches.append(second)
            starts.append(start)
    colour = None if own is None else Colour.of(own)
    return SourceProbe(
        frames=frames,
        seconds=float(frames / (rate or DEFAULT_RATE)),
        frame_rate=rate,
        lossy=codec is not None and codec.lossy,
        packet_bytes=sum(packet.size for packet in packets)
        if codec and codec.canonical_name in DECODERS and colour
        else None,
        colour=colour,
        stretches=stretches,
        pictures=pictures,
        activity=_activity(packets, starts, len(first)),
    )


def _activity(packets: Sequence[_Packet], starts: Sequence[int | None], frames: int) -> float:
    """Bytes of a packet, on average, over those of one in stretches that begin at these times, keyframes apart."""
    shown = sorted((packet.pts, packet.size) for packet in packets if packet.pts is not None and not packet.keyframe)
    tried = [size for start in starts if start is not None for size in _from(start, shown, frames)]
    return mean(size for _, size in shown) / mean(tried) if tried else 1.0


def _from(start: int, shown: Sequence[tuple[int, int]], count: int) -> list[int]:
    """So many sizes in a row from a time on."""
    return list(islice((size for pts, size in shown if pts >= start), count))


def probe_head(head: Sequence[Frame], video: VideoFormat, frames: int | None) -> SourceProbe:
    """What is known of a pipe by its first frames and, where that is announced, by how many there will be."""
    pictures = CodedPictures(head[0].native, video.height, video.width)
    stretch = [pictures.kept(frame.native, frame.rgb) for frame in head[: _length(video, len(head))]]
    count = frames or _UNKNOWN_FRAMES
    return SourceProbe(
        frames=count,
        seconds=float(count / (video.frame_rate or DEFAULT_RATE)),
        frame_rate=video.frame_rate,
        lossy=pictures.own,  # what is stored without loss is mostly RGB
        packet_bytes=None,
        colour=pictures.colour if pictures.own else None,
        stretches=[stretch],
        pictures=pictures,
    )


def _packets(source: str, frame_rate: Fraction | None) -> tuple[list[_Packet], Codec | None, Fraction | None]:
    """The packets of the video, its codec, its frame rate; nothing where other than FFmpeg reads it."""
    with closing(open_frame_source(source, frame_rate)) as footage:
        if not isinstance(footage, FfmpegSource):
            return [], None, None
    container, video = open_video(source)
    with closing(container):
        packets: list[_Packet] = []
        try:
            for packet in container.demux(video):
                packets += [_Packet(packet.pts, packet.size, packet.is_keyframe)] if packet.size else []
        except (FFmpegError, OSError):
            pass  # the reader will say what is wrong with it
        return packets, video.codec_context.codec, video.average_rate or video.guessed_rate or None


def _length(video: VideoFormat, frames: int) -> int:
    """Pictures of a stretch: all where that is little."""
    pixels = video.width * video.height
    return frames if frames * pixels <= WHOLE_PIXELS else max(4, min(STRETCH_FRAMES, STRETCH_PIXELS // pixels))


def decide(footage: SourceProbe, options: EncodeOptions, grids: GridTrials) -> Decision:
    """Which base layers to use, in what order; none where code grids are smaller, or all that is exact.

    A plan that does not hold what it promised is to be followed by the next one, the last by code grids.
    """
    tried = grids(footage)
    grid, known = (tried if isinstance(tried, GridTrial) else None), tried is Untried.KNOWN
    exact_grid = grid is not None and grid.exact
    quality = options.quality or (DEFAULT_QUALITY if footage.lossy and not exact_grid else EXACT_QUALITY)
    target = 0.0 if options.quality is None and options.min_psnr is not None else LADDER[quality]
    target = max(target, (options.min_psnr or 0.0) + _FLOOR_MARGIN)
    plans: list[tuple[float, BaseLayerPlan]] = []
    if footage.packet_bytes is not None and footage.colour is not None:
        plans.append((footage.packet_bytes, BaseLayerPlan(SOURCE, footage.colour, footage.pictures)))
    found = None
    if not (options.lossless or known or (exact_grid and quality >= EXACT_QUALITY)):
        found = _trial(footage, target, options.effort, math.inf if grid is None else grid.bytes)
    trial = None
    if found is not None:
        pictures, trial = found
        size = trial.bytes(footage.frames, footage.gops) + _OVERHEAD
        plan = BaseLayerPlan(
            trial.settings.encoder.codec,
            pictures.colour,
            pictures,
            settings=trial.settings,
            target=target,
            most=math.inf if footage.packet_bytes is None else footage.packet_bytes + _OVERHEAD,
        )
        plans.append((size, plan))
    serves = grid is not None and (grid.exact or (not options.lossless and grid.psnr >= target - _SHORT))
    most = grid.bytes if grid is not None and (serves or not plans) else math.inf
    if known:
        most = 0.0
    plans.sort(key=lambda each: each[0])
    notes = _notes(footage, trial, grid, target)
    order = [plan.coder for size, plan in plans if size < most]
    texts = [notes[coder] for coder in order[:1]] + [text for coder, text in notes.items() if coder not in order[:1]]
    line = "; ".join(texts)
    made = [(size, replace(plan, reason=line)) for size, plan in plans]
    others = [(size, plan) for size, plan in made if size >= most]
    bound = _TOLERANCE * min((size for size, _ in others), default=math.inf) + _OVERHEAD
    return Decision([plan for size, plan in made if size < most], [plan for _, plan in others], bound, line)


def _trial(footage: SourceProbe, target: float, effort: int, other: float) -> tuple[CodedPictures, EncoderTrial] | None:
    """What an encoder of ours takes, of which pictures; None where it is not there or does not reach the target.

    What was not 4:2:0 is tried in that first. It is looked at less closely where another way takes far less, `other`
    bytes.
    """

    def hopeless(trial: EncoderTrial) -> bool:
        return footage.activity * trial.bytes(footage.frames, footage.gops) > _HOPELESS * other

    ways = [footage.pictures]
    if not footage.pictures.own:
        ways.append(CodedPictures(None, *footage.size, full_chroma=True))
    for pictures in ways:
        try:
            trial = estimate(footage.stretches, target, effort, footage.frame_rate, pictures, hopeless)
        except EstimateError:
            continue
        if trial.psnr >= target - _SHORT:
            return pictures, replace(trial, frame_bytes=trial.frame_bytes * footage.activity)
    return None


def _notes(footage: SourceProbe, trial: EncoderTrial | None, grid: GridTrial | None, target: float) -> dict[str, str]:
    """What each way takes, in words, by coder."""
    notes = {}
    if trial is not None:
        codec = trial.settings.encoder.codec
        name = {AV1: "AV1", H264: "H.264"}[codec]
        takes = _size(trial.bytes(footage.frames, footage.gops) + _OVERHEAD)
        notes[codec] = f"{name} at {target:.1f} dB about {takes}"
    if footage.packet_bytes is not None:
        notes[SOURCE] = f"the source's own packets {_size(footage.packet_bytes)}"
    if grid is not None:
        quality = "exact" if grid.exact else f"{grid.psnr:.1f} dB"
        notes["grids"] = f"a palette ({quality}) about {_size(grid.bytes)}"
    return notes


def _size(count: float) -> str:
    return f"{count / _MEGA:.1f} MB" if count >= _MEGA else f"{count / _KILO:.1f} kB"


def _middle(source: str, length: int, pictures: CodedPictures) -> tuple[int | None, Stretch]:
    """So many pictures in a row from the middle on, and the time of the first in ticks."""
    start, stretch = None, list[tuple[av.VideoFrame | None, Image]]()
    to_rgb: RgbConverter | None = None
    container, video = open_video(source)
    with closing(container):
        for frame in islice(_frames_from_middle(container, video), length):
            if to_rgb is None:
                start, size = frame.pts, (frame.width, frame.height)
                to_rgb = RgbConverter(*size)
            own = (frame.width, frame.height) == size and not has_alpha(frame)
            stretch.append(pictures.kept(frame if own else None, to_rgb(frame)))
    return start, stretch


def _frames_from_middle(container: InputContainer, video: VideoStream) -> Iterator[av.VideoFrame]:
    """Decoded frames from the middle on, or from as near before it as is affordable; from the start if need be."""
    wanted = None
    if container.duration and video.time_base:
        begin = (container.start_time or 0) / av.time_base
        wanted = int((begin + container.duration / av.time_base / STRETCHES) / video.time_base)
        try:
            container.seek(wanted, stream=video)
        except FFmpegError:
            return
    decoded = 0
    try:
        for packet in container.demux(video):
            try:
                frames = video.decode(packet)
            except FFmpegError:
                continue  # a damaged frame; there are others
            for frame in frames:
                decoded += frame.width * frame.height
                early = wanted is not None and frame.pts is not None and frame.pts < wanted
                if not (early and decoded < _REACH_PIXELS):
                    yield frame
    except FFmpegError:
        return
