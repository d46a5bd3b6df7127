"""How far one video is from another, frame by frame: errors, similarity and times."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import zip_longest
from pathlib import Path

from pacodec.common.media import Image
from pacodec.common.metrics import Distortion, decibels, similarity
from pacodec.container import Reader
from pacodec.container.writer import is_pac
from pacodec.errors import CorruptFileError, UsageError

TimedFrame = tuple[Image, Fraction]
"""A picture, uint8 [H, W, 3], and when it is shown, in seconds."""


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    distortion: of all frames that both have. psnr: of each of them in dB, None where it is exact. ssim: of each, empty
    where that was not asked for. time_difference: the largest difference of two frames' times, in seconds, each video
    beginning at zero. only_first, only_second: how many frames more than the other each has.
    """

    frames: int
    distortion: Distortion
    psnr: list[float | None] = field(repr=False)
    ssim: list[float] = field(repr=False)
    time_difference: float
    only_first: int = 0
    only_second: int = 0

    @property
    def exact(self) -> bool:
        """Whether every value of every frame that both have is the same."""
        return not self.distortion.total

    @property
    def worst_frame(self) -> int | None:
        """The number of the frame that is farthest off, the first of several; None where all are exact."""
        off = [(value, number) for number, value in enumerate(self.psnr) if value is not None]
        return min(off)[1] if off else None

    @property
    def mean_ssim(self) -> float | None:
        """The mean SSIM of all frames; None where it was not asked for."""
        return sum(self.ssim) / len(self.ssim) if self.ssim else None


def compare(
    first: str,
    second: str,
    *,
    ssim: bool = True,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> Comparison:
    """Compare two videos, .pac files, animated images or sequences of pictures, in RGB as FFmpeg shows it.

    SSIM takes far longer than the rest. `progress` is called with frames done and frames expected, None if unknown.

    Raises UsageError where their sizes differ, and what reading either raises.
    """
    distortion, psnr, similarities = Distortion(), list[float | None](), list[float]()
    extra = [0, 0]
    starts: tuple[Fraction, Fraction] | None = None
    difference = Fraction(0)
    with ExitStack() as stack:
        (ours, total), (theirs, _) = (_frames(name, stack) for name in (first, second))
        for number, (a, b) in enumerate(zip_longest(ours, theirs)):
            if a is None or b is None:
                extra[a is None] += 1
                continue
            (original, begin), (picture, other_begin) = a, b
            if original.shape != picture.shape:
                sizes = " and ".join(f"{shape[1]}x{shape[0]}" for shape in (original.shape, picture.shape))
                raise UsageError(f"{first}, {second}: pictures of different sizes, {sizes}")
            found = Distortion.of(original[None], picture[None])
            distortion += found
            psnr.append(decibels(found.total) if found.total else None)
            if ssim:
                similarities.append(similarity(original, picture)[0] if found.total else 1.0)
            starts = starts or (begin, other_begin)
            difference = max(difference, abs((begin - starts[0]) - (other_begin - starts[1])))
            progress(number + 1, total)
    if not distortion.frames:
        raise CorruptFileError(f"{first}, {second}: no frame to compare")
    return Comparison(distortion.frames, distortion, psnr, similarities, float(difference), *extra)


def _frames(name: str, stack: ExitStack) -> tuple[Iterator[TimedFrame], int | None]:
    """The frames of a file that `stack` closes, and how many it announces."""
    if Path(name).is_file() and is_pac(Path(name)):
        from pacodec.decoder import Decoder

        decoder, reader = stack.enter_context(Decoder(name)), stack.enter_context(Reader(name))
        pictures = (picture for batch in decoder.batches(0, len(decoder)) for picture in batch)
        base = reader.header.video.time_base
        times = (int(pts) * base for number in range(len(reader.gops)) for pts in reader.gop(number).pts[:-1])
        return zip(pictures, times, strict=True), len(decoder)
    from pacodec.video.reader import VideoReader

    video = stack.enter_context(VideoReader(name))
    base = video.format.time_base
    return ((frame.rgb, frame.pts * base) for frame in video.frames()), video.frames_hint
