"""Recordings to code grids: a palette learned from all of them, then every frame by that palette, in short segments."""

import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from pacodec.common.media import Grids, GridSpec, Image
from pacodec.common.metrics import Distortion
from pacodec.common.pixels import MAX_COLOURS, ColourSet, changed_pixels
from pacodec.engine import Costs, DifferencesDecoder, DifferencesEncoder, SegmentEncoder, State
from pacodec.errors import UsageError
from pacodec.gop import rate_distortion
from pacodec.gop.rate_distortion import RateDistortion
from pacodec.limits import MIB
from pacodec.training.survey import Part, pictures, split, survey_clips
from pacodec.transforms.palette import PaletteTransform, colour_errors, learn_palette
from pacodec.transforms.two_level_palette import TwoLevelPalette, frequent_colours, without
from pacodec.video.reader import VideoReader


@dataclass
class Pairs:
    """Pictures, uint8 [H, W, 3], and their codes, uint8 [H, W]: every `every`-th that comes, none where that is 0."""

    every: int = 1
    pictures: list[Image] = field(default_factory=list)
    codes: list[NDArray[np.uint8]] = field(default_factory=list)
    clips: list[int] = field(default_factory=list)
    """Which clip each is of."""
    _seen: int = 0

    def add(self, picture: Image, codes: NDArray[np.uint8], clip: int) -> None:
        """Take a picture and its codes where there is room for them."""
        if self.every and self._seen % self.every == 0:
            self.pictures.append(picture.copy())
            self.codes.append(codes.copy())
            self.clips.append(clip)
        self._seen += 1

    def __len__(self) -> int:
        return len(self.pictures)


NOISY_SHARE = 0.02
"""Share of pixels that change by little, yet change, from which footage is noisy."""
MAX_MODEL_SHADES = 8192
NOISE_LEVELS, NOISY_COLOURS = 22, 24
"""What noisy footage is held to move by for nothing, and its colours, which are few: finer ones would tell noise from
noise, and what lies between them the post-filter guesses better than it can be coded."""
JUDGED_QUALITY = 3
"""Of noisy footage: the one whose codes are learned from and measured."""
PAIRED_BYTES = 256 * MIB
"""Memory for the pictures that a post-filter learns from."""
JUDGED_PAIRS = 24
"""Pictures, about, that it is judged by, and as many that it is measured on."""
LOOK_AHEAD = 128
"""Frames whose changes are decided at once."""
TEST_BYTES = 12 * MIB
"""Held-out codes that are looked at: other methods are measured on them too, and those take their time."""
_FAST = 1
"""zstd's level for codes that are kept in memory."""


@dataclass(frozen=True)
class CodeSegment:
    """Successive grids of one clip, uint8 [frames, 1, h, w], that do not repeat the one before."""

    spec: GridSpec
    frames: int
    pixels: int
    """To code: those of the first grid, and of blocks that changed."""
    shown: int
    """Frames of the clip that it stands for, repeats included."""
    _data: bytes

    def grids(self) -> Grids:
        """All grids of the segment."""
        return DifferencesDecoder(self.spec, self._data).pull(self.frames)


@dataclass(frozen=True)
class CodedFootage:
    """Code grids by their role."""

    palette: NDArray[np.uint8]
    train: list[CodeSegment]
    validation: list[CodeSegment]
    test: list[CodeSegment]
    distortion: list[Distortion]
    """Of the palette on each test clip."""
    frame_rate: float
    split: str
    shades: bytes
    """Further colours of clean footage, as a model carries them; empty where there are none, or too many."""
    noise: int
    """Levels that pixels are held to move by for nothing; 0 where the footage is clean."""
    pairs: Pairs
    """Of noisy footage, pictures to train on and their codes."""
    judged: Pairs
    """The same of the part for validation."""
    held: Pairs
    """The same of the part held out for the final report."""
    trained_clips: int
    checksum: int
    """Of the palette and all codes to train on and to choose by."""


def load_codes(
    clips: Sequence[str],
    validation: Sequence[str],
    test: Sequence[str],
    size: tuple[int, int] | None,
    segment_pixels: int,
) -> CodedFootage:
    """Read recordings twice: to learn the palette, and to code them, in segments of about so many pixels to code.

    `size` is (height, width), None for their own. Raises UsageError where there are too few frames, or clips of several
    sizes, and what `VideoReader` raises.
    """
    names = [*clips, *validation, *test]
    colours = ColourSet()
    surveys = survey_clips(names, size, colours)
    if len({picture.shape for survey in surveys for _, picture in survey.sample}) != 1:
        raise UsageError("the clips are not of one size; --size makes them so")
    parts = split([survey.frames for survey in surveys], len(validation), len(test))
    noisy = float(np.median([surveys[part.clip].noise for part in parts.train])) > NOISY_SHARE
    noise = NOISE_LEVELS if noisy else 0
    exchange = rate_distortion.noisy(noise)[JUDGED_QUALITY] if noisy else None
    sample = [picture for part in parts.train for picture in surveys[part.clip].within(part)]
    known = None if noisy else colours.found()
    palette = learn_palette(sample, NOISY_COLOURS if noisy else MAX_COLOURS, known)
    coding = _Coding(names, PaletteTransform(palette), size, exchange, segment_pixels)
    pairs, judged, held = (
        _pairs(role, sample[0], noisy, most)
        for role, most in ((parts.train, None), (parts.validation, JUDGED_PAIRS), (parts.test, JUDGED_PAIRS))
    )
    train = [segment for part in parts.train for segment in coding.segments(part, pairs)]
    looked_at = [segment for part in parts.validation for segment in coding.segments(part, judged)]
    tested, distortion = coding.held_out(parts.test, held)
    return CodedFootage(
        palette=palette,
        train=train,
        validation=looked_at,
        test=tested,
        distortion=distortion,
        frame_rate=float(surveys[0].rate),
        split=parts.words,
        shades=b"" if noisy else _shades(sample, palette, known),
        noise=noise,
        pairs=pairs,
        judged=judged,
        held=held,
        trained_clips=len({part.clip for part in parts.train}),
        checksum=_checksum(palette, [*train, *looked_at]),
    )


def _pairs(parts: Sequence[Part], picture: Image, noisy: bool, most: int | None) -> Pairs:
    """Room for pictures of noisy footage, spread over the parts; none of clean footage."""
    frames = sum(part.stop - part.start for part in parts)
    if not noisy:
        return Pairs(0)
    if most is not None:
        return Pairs(max(1, frames // most))
    return Pairs(max(1, math.ceil(frames * picture.size * 4 / 3 / PAIRED_BYTES)))


def _shades(sample: Sequence[Image], palette: NDArray[np.uint8], known: NDArray[np.uint8] | None) -> bytes:
    """Of the colours that are not in the palette, those of the sample first."""
    further = without(frequent_colours(sample), palette)
    if known is not None:
        further = np.concatenate([further, without(without(known, palette), further)])
    if not 0 < len(further) <= MAX_MODEL_SHADES:
        return b""
    stored: bytes = TwoLevelPalette(palette, further).parameters["shades"]
    return stored


def _checksum(palette: NDArray[np.uint8], segments: Sequence[CodeSegment]) -> int:
    value = zlib.crc32(palette.tobytes())
    for segment in segments:
        value = zlib.crc32(segment._data, value)
    return value


@dataclass
class _Coding:
    """How pictures become codes."""

    names: Sequence[str]
    transform: PaletteTransform
    size: tuple[int, int] | None
    exchange: RateDistortion | None
    segment_pixels: int
    _state: State | None = None
    """What the engine learned from the parts so far, where it chooses codes."""

    def segments(self, part: Part, pairs: Pairs) -> Iterator[CodeSegment]:
        """A part of a clip, cut into segments; some pictures are kept with their codes as `pairs`."""
        return _cut(self._coded(part, pairs), self.segment_pixels)

    def held_out(self, parts: Sequence[Part], pairs: Pairs) -> tuple[list[CodeSegment], list[Distortion]]:
        """The beginning of each test part as one segment, and what the palette loses of it."""
        found, lost = list[CodeSegment](), list[Distortion]()
        for part in parts:
            distortion = Distortion()
            grids: list[NDArray[np.uint8]] = []
            for picture, codes in self._coded(part, pairs):
                distortion += Distortion.of(picture[None], self.transform.decode(codes[None, None]))
                grids.append(codes)
                if len(grids) * codes.size * len(parts) > TEST_BYTES:
                    break
            found += _cut(((grid, grid) for grid in grids), None)
            lost.append(distortion)
        return found, lost

    def _coded(self, part: Part, pairs: Pairs) -> Iterator[tuple[Image, NDArray[np.uint8]]]:
        """Pictures and their codes, uint8 [h, w]: the nearest colours, or of noisy footage those worth their bits."""
        exchange = self.exchange
        errors = None if exchange is None else colour_errors(self.transform.palette)
        encoder: SegmentEncoder | None = None
        last: Grids | None = None
        with VideoReader(self.names[part.clip]) as reader:
            frames = islice(pictures(reader, self.size), part.start, part.stop)
            while window := list(islice(frames, 1 if exchange is None else LOOK_AHEAD)):
                codes = self.transform.encode(np.stack(window))[:, :1]
                if exchange is not None and errors is not None:
                    encoder = encoder or self._encoder(codes, exchange.costs(errors))
                    codes = encoder.push(*exchange.choose(codes, errors, last))
                last = codes[-1]
                for picture, grid in zip(window, codes[:, 0], strict=True):
                    pairs.add(picture, grid, part.clip)
                    yield picture, grid

    def _encoder(self, codes: Grids, costs: Costs) -> SegmentEncoder:
        """Of one more part; what was coded before is known, as it will be from the model."""
        if self._state is None:
            self._state = State.fresh(GridSpec(1, codes.shape[2], codes.shape[3], ordinal=False))
        return SegmentEncoder(self._state, costs)


def _cut(coded: Iterator[tuple[Image, NDArray[np.uint8]]], most: int | None) -> Iterator[CodeSegment]:
    """Segments of at most so many pixels after the first grid, None for one segment."""
    last: NDArray[np.uint8] | None = None
    encoder: DifferencesEncoder | None = None
    spec = GridSpec(1, 1, 1, ordinal=False)
    frames = pixels = shown = 0
    for _, grid in coded:
        changed = grid.size if last is None else changed_pixels(last[..., None], grid[..., None])
        if encoder is not None and most is not None and frames > 1 and pixels + changed > most:
            yield CodeSegment(spec, frames, pixels, shown, encoder.finish())
            encoder = None
        if encoder is None:
            spec = GridSpec(1, grid.shape[0], grid.shape[1], ordinal=False)
            encoder, frames, pixels, shown, changed = DifferencesEncoder(spec, _FAST), 0, 0, 0, grid.size
        if changed:
            encoder.push(grid[None, None])
            frames += 1
        shown += 1
        pixels += changed
        last = grid
    if encoder is not None:
        yield CodeSegment(spec, frames, pixels, shown, encoder.finish())
