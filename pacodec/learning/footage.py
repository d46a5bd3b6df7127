"""Recordings to code grids: a palette learned from the part to train on, then every frame by that palette."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import cycle, islice

import numpy as np
from numpy.typing import NDArray

from pacodec.grids import Grids
from pacodec.learning.clips import CodeClip, Grid
from pacodec.learning.request import Part, Split, split
from pacodec.limits import GIB, MIB
from pacodec.media import Frame, Image
from pacodec.metrics import psnr
from pacodec.thrift import Thrift, noisy_thrifts
from pacodec.transforms.palette import MAX_COLOURS, PaletteTransform, colour_errors, learn_palette
from pacodec.transforms.shades import ShadesTransform, frequent_colours, without
from pacodec.trellis import steady_codes
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
NOISE_LEVELS, NOISY_COLOURS = 22, 96
"""What noisy footage is held to move by for nothing, and its colours, which are fewer: of finer ones most would tell
noise from noise."""
TRAINED_QUALITIES, JUDGED_QUALITY = (3, 2, 4, 1), 3
"""Of noisy footage: those whose codes the clips are learned from, in turn, and the one that is measured."""
LOOK_AHEAD = 64
"""Frames whose changes are decided at once."""

Noise = Thrift | None
"""What a change must be worth in noisy footage; None where it is clean."""


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
    noise: int
    """Levels that pixels are held to move by for nothing; 0 where the footage is clean."""
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
    colours, noise = (NOISY_COLOURS, NOISE_LEVELS) if noisy else (MAX_COLOURS, 0)
    thrifts = noisy_thrifts(noise)
    judged = thrifts[JUDGED_QUALITY] if noisy else None
    learned = cycle(thrifts[quality] if noisy else None for quality in TRAINED_QUALITIES)
    sample = [picture for part in parts.train for picture in _within(surveys[part.clip], part)]
    palette = learn_palette(sample, colours)
    transform = PaletteTransform(palette)
    room = GRID_BYTES // (len(parts.train) + len(parts.validation))
    train = [
        _code(names[part.clip], part, transform, size, hold, room, thrift)
        for part, thrift in zip(parts.train, learned, strict=False)
    ]
    looked_at = [_code(names[part.clip], part, transform, size, hold, room, judged) for part in parts.validation]
    held, quality = _held_out(names, parts, transform, size, hold, judged)
    return CodedFootage(
        palette=palette,
        train=train,
        validation=looked_at,
        test=held,
        psnr=quality,
        frame_rate=float(surveys[0].rate),
        split=parts.words,
        shades=b"" if noisy else _shades(sample, palette),
        noise=noise,
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
    name: str,
    part: Part,
    transform: PaletteTransform,
    size: tuple[int, int] | None,
    hold: int,
    room: int,
    thrift: Noise,
) -> CodeClip:
    """The grids of a part, as many as fit into `room` bytes."""
    clip = CodeClip(hold)
    with VideoReader(name) as reader:
        for _, codes in _coded(islice(_pictures(reader, size), part.start, part.stop), transform, thrift):
            clip.append(codes)
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


def _coded(pictures: Iterator[Image], transform: PaletteTransform, thrift: Noise) -> Iterator[tuple[Image, Grid]]:
    """Pictures and their codes, uint8 [h, w]: the nearest colours, or of noisy footage those worth a change."""
    errors = None if thrift is None else thrift.errors(colour_errors(transform.palette))
    last: Grids | None = None
    while window := list(islice(pictures, 1 if thrift is None else LOOK_AHEAD)):
        codes = transform.encode(np.stack(window))[:, :1]
        if thrift is not None and errors is not None:
            codes = steady_codes(codes, errors, thrift.change, last)
        last = codes[-1]
        yield from zip(window, codes[:, 0], strict=True)


def _held_out(
    names: Sequence[str],
    parts: Split,
    transform: PaletteTransform,
    size: tuple[int, int] | None,
    hold: int,
    thrift: Noise,
) -> tuple[list[CodeClip], list[float]]:
    """The beginning of each test part, and the palette's PSNR on it."""
    clips, quality = [], []
    for part in parts.test:
        clip, values = CodeClip(hold), list[float]()
        with VideoReader(names[part.clip]) as reader:
            frames = islice(_pictures(reader, size), part.start, part.stop)
            for picture, codes in _coded(frames, transform, thrift):
                values.append(float(psnr(picture[None], transform.decode(codes[None, None]))[0]))
                clip.append(codes)
                if len(clip) * codes.size * len(parts.test) > TEST_BYTES:
                    break
        clips.append(clip)
        quality.append(float(np.mean(values)))
    return clips, quality
