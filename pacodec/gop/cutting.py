"""Where GOPs are cut: by what has to be coded, which is what has to be decoded to reach their last frame."""

from dataclasses import dataclass
from fractions import Fraction

from pacodec import limits
from pacodec.common.grids import GridSpec
from pacodec.common.media import Frame, Image, VideoFormat
from pacodec.common.pixels import changed_pixels

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
        self.pixels = 0
        """Pixels to code so far, of all GOPs: those of changed blocks, and of whole pictures that begin a GOP."""

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
            self.pixels += whole
        else:
            self._pixels += self.changed
            self.pixels += self.changed
        self._frames += 1
        self._last = frame.rgb
        return begins
