"""Recordings to code grids: a palette learned from the part to train on, then every frame by that palette."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from pacodec.learning.clips import CodeClip, Grid
from pacodec.learning.request import Part, Split, split
from pacodec.limits import GIB, MIB
from pacodec.media import Frame, Image
from pacodec.metrics import psnr
from pacodec.transforms.palette import MAX_COLOURS, PaletteTransform, learn_palette
from pacodec.transforms.shades import ShadesTransform, frequent_colours, without
from pacodec.video.reader import VideoReader
from pacodec.video.resize import resize

GRID_BYTES = 2 * GIB
"""Memory for compressed grids; of longer footage the beginning of each clip is taken."""
SAMPLE_BYTES = 256 * MIB
"""Memory for the frames that the palette is learned from."""
SAMPLE_FRAMES = 64
"""Of a clip, at most."""
TEST_BYTES = 12 * MIB
"""Held-out codes that are looked at: other methods are measured on them too, and those take their time."""
_DEFAULT_RATE = Fraction(30)
NOISE = 16
"""Levels that a pixel may change by from frame to frame and still count as noise."""
NOISY_SHARE = 0.02
"""Share of pixels that change so little, yet change, from which footage is noisy."""
MAX_MODEL_SHADES = 8192
STEADY, NOISY_COLOURS = 22, 96
"""In noisy footage a pixel's code stays until it has moved by more than so many levels, and there are fewer colours: of
finer ones most would tell noise from noise."""


@dataclass(frozen=True)
class CodedFootage:
    """Code grids by their role."""

    palette: NDArray[np.uint8]
    train: list[CodeClip]
    validation: list[CodeClip]
    test: list[CodeClip]
    psnr: list[float]
    """Of the palette on each test clip, in dB."""
    frame_rate: float
    split: str
    shades: bytes
    """Further colours of clean footage, as a model carries them; empty where there are none, or too many."""
    steady: int
    """Levels that a pixel moved by before its code changed; 0 where the footage is clean."""
    left_out: int
    """Frames of the part to train on that found no room in memory."""


@dataclass(frozen=True)
class _Survey:
    """A clip at first reading: its length, and some frames (number, picture) evenly spread."""

    frames: int
    rate: Fraction
    sample: list[tuple[int, Image]]
    noise: float
    """Share of pixels that change a little from frame to frame, the mean of some frames."""


def load_codes(
    clips: Sequence[str],
    validation: Sequence[str],
    test: Sequence[str],
    size: tuple[int, int] | None,
    hold: int,
) -> CodedFootage:
    """Read recordings twice: to learn the palette, and to code them. `size` is (height, width), None for their own.

    Raises UsageError where there are too few frames, and what `VideoReader` raises.
    """
    names = [*clips, *validation, *test]
    surveys = [_survey(name, size, len(names)) for name in names]
    parts = split([survey.frames for survey in surveys], len(validation), len(test))
    noisy = float(np.median([surveys[part.clip].noise for part in parts.train])) > NOISY_SHARE
    colours, steady = (NOISY_COLOURS, STEADY) if noisy else (MAX_COLOURS, 0)
    sample = [picture for part in parts.train for picture in _within(surveys[part.clip], part)]
    palette = learn_palette(sample, colours)
    transform = PaletteTransform(palette)
    room = GRID_BYTES // (len(parts.train) + len(parts.validation))
    train = [_code(names[part.clip], part, transform, size, hold, room, steady) for part in parts.train]
    looked_at = [_code(names[part.clip], part, transform, size, hold, room, steady) for part in parts.validation]
    held, quality = _held_out(names, parts, transform, size, hold, steady)
    return CodedFootage(
        palette=palette,
        train=train,
        validation=looked_at,
        test=held,
        psnr=quality,
        frame_rate=float(surveys[0].rate),
        split=parts.words,
        shades=b"" if noisy else _shades(sample, palette),
        steady=steady,
        left_out=sum(part.stop - part.start - len(clip) for part, clip in zip(parts.train, train, strict=True)),
    )


def _survey(name: str, size: tuple[int, int] | None, clips: int) -> _Survey:
    sample: list[tuple[int, Image]] = []
    count, stride = 0, 1
    noise: list[float] = []
    last: Image | None = None
    with VideoReader(name) as reader:
        rate = reader.format.frame_rate or _DEFAULT_RATE
        room = min(SAMPLE_FRAMES, max(4, SAMPLE_BYTES // clips // (reader.format.width * reader.format.height * 3)))
        for count, picture in enumerate(_pictures(reader, size), 1):
            if (count - 1) % stride == 0:
                if last is not None:
                    noise.append(_noise(last, picture))
                sample.append((count - 1, picture))
            if len(sample) > room:
                stride *= 2
                sample = [(number, kept) for number, kept in sample if number % stride == 0]
            last = picture
    return _Survey(count, rate, sample, float(np.mean(noise)) if noise else 0.0)


def _noise(last: Image, picture: Image) -> float:
    """Share of pixels that change, by at most `NOISE` levels."""
    moved = np.abs(picture.astype(np.int16) - last).max(2)
    return float(((moved > 0) & (moved <= NOISE)).mean())


def _pictures(reader: VideoReader, size: tuple[int, int] | None) -> Iterator[Image]:
    for event in reader:
        if isinstance(event, Frame):
            yield event.rgb if size is None else resize(event.rgb[None], *size)[0]


def _within(survey: _Survey, part: Part) -> Iterator[Image]:
    return (picture for number, picture in survey.sample if part.start <= number < part.stop)


def _code(
    name: str, part: Part, transform: PaletteTransform, size: tuple[int, int] | None, hold: int, room: int, steady: int
) -> CodeClip:
    """The grids of a part, as many as fit into `room` bytes."""
    clip = CodeClip(hold)
    last: Grid | None = None
    with VideoReader(name) as reader:
        for picture in islice(_pictures(reader, size), part.start, part.stop):
            last = _codes(picture, transform, last, steady)
            clip.append(last)
            if clip.bytes > room:
                break
    return clip


def _shades(sample: Sequence[Image], palette: NDArray[np.uint8]) -> bytes:
    """Of the colours of some pictures that are not in the palette."""
    further = without(frequent_colours(sample), palette)
    if not 0 < len(further) <= MAX_MODEL_SHADES:
        return b""
    stored: bytes = ShadesTransform(palette, further).parameters["shades"]
    return stored


def _codes(picture: Image, transform: PaletteTransform, last: Grid | None, steady: int) -> Grid:
    """The nearest colours, uint8 [h, w]; where the last grid's are within `steady` levels, those stay."""
    codes: Grid = transform.encode(picture[None])[0, 0]
    if last is None or not steady:
        return codes
    moved = np.abs(picture.astype(np.int16) - transform.palette[last]).max(2)
    return np.where(moved <= steady, last, codes)


def _held_out(
    names: Sequence[str],
    parts: Split,
    transform: PaletteTransform,
    size: tuple[int, int] | None,
    hold: int,
    steady: int,
) -> tuple[list[CodeClip], list[float]]:
    """The beginning of each test part, and the palette's PSNR on it."""
    clips, quality = [], []
    for part in parts.test:
        clip, values = CodeClip(hold), list[float]()
        last: Grid | None = None
        with VideoReader(names[part.clip]) as reader:
            for picture in islice(_pictures(reader, size), part.start, part.stop):
                last = _codes(picture, transform, last, steady)
                values.append(float(psnr(picture[None], transform.decode(last[None, None]))[0]))
                clip.append(last)
                if len(clip) * last.size * len(parts.test) > TEST_BYTES:
                    break
        clips.append(clip)
        quality.append(float(np.mean(values)))
    return clips, quality
