"""A first look at all of the footage: its colours, pictures from all over, some GOPs to learn from.

GOPs are cut by what has to be coded, which is what has to be decoded to reach their last frame.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from pacodec import limits
from pacodec.common.media import Frame, GridSpec, Image, Pictures, VideoFormat
from pacodec.common.pixels import ColourSet, changed_pixels
from pacodec.engine import DifferencesDecoder, DifferencesEncoder
from pacodec.video.reader import VideoReader, sample_frames

SAMPLE_FRAMES = 16
SAMPLE_BYTES = 32 * limits.MIB
"""Memory for those frames; fewer of large ones."""
KEPT_GOPS = 8
"""GOPs that are kept, up to twice as many."""
KEPT_BYTES = 64 * limits.MIB
"""Memory for them, compressed."""
_FAST = 1
"""zstd's level for pictures that are kept."""


@dataclass(frozen=True)
class KeptGop:
    """The pictures of a GOP that do not repeat the one before."""

    number: int
    """Which GOP of the file it is."""
    frames: int
    pixels: int
    """To code: those of the first picture, and of blocks that changed."""
    _spec: GridSpec
    _data: bytes

    def pictures(self, most: int) -> Iterator[Pictures]:
        """All kept pictures, uint8 [n, H, W, 3] at a time, of at most `most`."""
        decoder = DifferencesDecoder(self._spec, self._data)
        return (decoder.pull(min(most, self.frames - first)) for first in range(0, self.frames, most))


@dataclass(frozen=True)
class Survey:
    """What is known of the footage before it is coded."""

    sample: list[Image]
    """Frames from all over, uint8 [H, W, 3]."""
    colours: NDArray[np.uint8] | None = None
    """All colours, uint8 [N, 3], where all of it was looked at and they are fewer than `MANY_COLOURS`."""
    gops: int = 0
    """How many GOPs it will have, 0 where that is not known."""
    kept: list[KeptGop] = field(default_factory=list)
    """Some of them from all over, in order."""
    grey: bool = False
    """Whether all of it is grey for certain, so that it has no more than 256 colours."""


def survey(
    source: str | os.PathLike[str], gop_seconds: float | None, frame_rate: Fraction | None = None, *, whole: bool
) -> Survey:
    """Of a file: all of it where it is to be looked at as a `whole` and has few enough colours, else a sample.

    Raises what `VideoReader` raises.
    """
    found = _read(source, gop_seconds, frame_rate) if whole else None
    return found or Survey(sample_frames(source, SAMPLE_FRAMES, frame_rate))


def _read(source: str | os.PathLike[str], gop_seconds: float | None, frame_rate: Fraction | None) -> Survey | None:
    """None where there are too many colours."""
    with VideoReader(source, frame_rate) as reader:
        video = reader.format
        cutter = Cutter(GopBounds.of(video, gop_seconds))
        colours, sample = ColourSet(), _Sample(3 * video.width * video.height)
        keeper = _Keeper(GridSpec(video.height, video.width, 3, ordinal=True))
        for number, frame in enumerate(reader.frames()):
            keeper.add(frame.rgb, cutter.begins_gop(frame), cutter.changed)
            sample.add(number, frame.rgb)
            if cutter.changed:
                colours.add(frame.rgb)
            if colours.many:
                return None
    return Survey(sample.pictures(), colours.found(), keeper.gops, keeper.finish())


class _Sample:
    """Every 2^k-th picture, so that about `SAMPLE_FRAMES` remain."""

    def __init__(self, picture_bytes: int) -> None:
        self._most = max(4, min(SAMPLE_FRAMES, SAMPLE_BYTES // picture_bytes))
        self._kept: list[Image] = []
        self._stride = 1

    def add(self, number: int, picture: Image) -> None:
        if number % self._stride == 0:
            self._kept.append(picture)
        if len(self._kept) == 2 * self._most:
            self._kept, self._stride = self._kept[::2], 2 * self._stride

    def pictures(self) -> list[Image]:
        kept, most = self._kept, self._most
        return [kept[k * len(kept) // most] for k in range(most)] if len(kept) > most else kept


class _Keeper:
    """Every 2^k-th GOP."""

    def __init__(self, spec: GridSpec) -> None:
        self.gops = 0
        self._spec = spec
        self._kept: list[KeptGop] = []
        self._stride = 1
        self._open: DifferencesEncoder | None = None
        self._frames = self._pixels = 0

    def add(self, picture: Image, begins: bool, changed: int) -> None:
        if begins:
            self._close()
            self._open = DifferencesEncoder(self._spec, _FAST) if self.gops % self._stride == 0 else None
            self.gops += 1
            self._frames = self._pixels = 0
        if self._open is not None and (begins or changed):
            self._open.push(picture[None])
            self._frames += 1
            self._pixels += picture.shape[0] * picture.shape[1] if begins else changed

    def finish(self) -> list[KeptGop]:
        self._close()
        return self._kept

    def _close(self) -> None:
        if self._open is None:
            return
        self._kept.append(KeptGop(self.gops - 1, self._frames, self._pixels, self._spec, self._open.finish()))
        self._open = None
        while len(self._kept) > 2 * KEPT_GOPS or sum(len(gop._data) for gop in self._kept) > KEPT_BYTES:
            self._stride *= 2
            self._kept = [gop for gop in self._kept if gop.number % self._stride == 0 and len(self._kept) > 1]


GOP_PIXELS = 1_300_000
"""Pixels of changed blocks after the first picture of a GOP: about a second of one core's decoding, at 0.8 us."""
GOP_FRAMES = 1 << 14
"""Frames of a GOP, however little they show: what can be lost at once, and what a reader keeps account of."""
GOP_BYTES = 128 * limits.MIB
"""Latents that a GOP may collect for a quantizer that must see all of them."""
_OVERDUE = 1
"""A GOP of large pictures may have so many times the first one after it, or would consist of that one alone."""


@dataclass(frozen=True)
class GopBounds:
    """How long GOPs may be. Times in units of the video's time base, None where they do not matter."""

    pixels: int
    frames: int
    ticks: int | None

    @classmethod
    def of(cls, video: VideoFormat, seconds: float | None, collected: GridSpec | None = None) -> "GopBounds":
        """For a video, GOPs of at most `seconds`; `collected`: the grids of a quantizer that sees a GOP as a whole."""
        ticks = None
        if seconds is not None:
            span = max(Fraction(seconds).limit_denominator(10**6), Fraction(1, 10**6))
            ticks = max(1, int(span / video.time_base))
        most = GOP_FRAMES if collected is None else max(1, min(GOP_FRAMES, GOP_BYTES // (4 * collected.size)))
        return cls(max(GOP_PIXELS, _OVERDUE * video.width * video.height), most, ticks)


class Cutter:
    """Takes pictures in order and says of each whether it repeats the one before, or begins a GOP."""

    def __init__(self, bounds: GopBounds) -> None:
        self._bounds = bounds
        self._last: Image | None = None
        self._start = self._frames = self._pixels = 0

    def begins_gop(self, frame: Frame) -> bool:
        """Whether a frame begins a GOP; every frame once, in order."""
        whole = frame.rgb.shape[0] * frame.rgb.shape[1]
        self.changed = whole if self._last is None else changed_pixels(self._last, frame.rgb)
        """Pixels of the blocks in which the frame differs from the one before; 0 where it repeats that."""
        bounds = self._bounds
        begins = (
            self._last is None
            or self._frames >= bounds.frames
            or self._pixels + self.changed > bounds.pixels
            or (bounds.ticks is not None and frame.pts - self._start >= bounds.ticks)
        )
        if begins:
            self._start, self._frames, self._pixels = frame.pts, 0, 0
        else:
            self._pixels += self.changed
        self._frames += 1
        self._last = frame.rgb
        return begins
