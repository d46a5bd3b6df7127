"""Recordings to code grids: a palette learned from the part to train on, then every frame by that palette."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np
from numpy.typing import NDArray

from pacodec.grids import Grids
from pacodec.learning.clips import CodeClip, Grid
from pacodec.learning.pairs import Pairs
from pacodec.learning.request import Part, split
from pacodec.learning.survey import pictures, survey, within
from pacodec.limits import GIB, MIB
from pacodec.media import Image
from pacodec.metrics import psnr
from pacodec.thrift import Thrift, noisy_thrifts
from pacodec.transforms.palette import MAX_COLOURS, PaletteTransform, colour_errors, learn_palette
from pacodec.transforms.shades import ShadesTransform, frequent_colours, without
from pacodec.trellis import steady_codes
from pacodec.video.reader import VideoReader

GRID_BYTES = 2 * GIB
"""Memory for compressed grids; of longer footage the beginning of each clip is taken."""
TEST_BYTES = 12 * MIB
"""Held-out codes that are looked at: other methods are measured on them too, and those take their time."""
NOISY_SHARE = 0.02
"""Share of pixels that change so little, yet change, from which footage is noisy."""
MAX_MODEL_SHADES = 8192
NOISE_LEVELS, NOISY_COLOURS = 22, 96
"""What noisy footage is held to move by for nothing, and its colours, which are fewer: of finer ones most would tell
noise from noise."""
TRAINED_QUALITIES, JUDGED_QUALITY = (3, 2, 4, 1), 3
"""Of noisy footage: those whose codes the clips are learned from, in turn, and the one that is measured."""
CODED_FRAMES = 6000
"""Up to so many, the frames of noisy footage are learned from in more than one of those qualities."""
PAIRED_BYTES = 512 * MIB
"""Memory for the pictures that a post-filter learns from."""
JUDGED_PAIRS = 24
"""Pictures, about, that it is judged by, and as many that it is measured on."""
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
    pairs: Pairs
    """Of noisy footage, pictures to train on and their codes."""
    judged: Pairs
    """The same of the part for validation."""
    held: Pairs
    """The same of the part held out for the final report."""


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
    surveys = [survey(name, size, len(names)) for name in names]
    parts = split([survey.frames for survey in surveys], len(validation), len(test))
    noisy = float(np.median([surveys[part.clip].noise for part in parts.train])) > NOISY_SHARE
    colours, noise = (NOISY_COLOURS, NOISE_LEVELS) if noisy else (MAX_COLOURS, 0)
    thrifts = noisy_thrifts(noise)
    judged = thrifts[JUDGED_QUALITY] if noisy else None
    sample = [picture for part in parts.train for picture in within(surveys[part.clip], part)]
    palette = learn_palette(sample, colours)
    coding = _Coding(names, PaletteTransform(palette), size, hold)
    versions = _versions(parts.train, thrifts) if noisy else [(part, None) for part in parts.train]
    room = GRID_BYTES // (len(versions) + len(parts.validation))
    frames = sum(part.stop - part.start for part, _ in versions)
    picture_bytes = sample[0].size * 4 // 3 if noisy else 0  # with its codes
    pairs = Pairs(max(1, math.ceil(frames * picture_bytes / PAIRED_BYTES)))
    judged_by, held = (Pairs(max(1, _frames(role) // JUDGED_PAIRS)) for role in (parts.validation, parts.test))
    train = [coding.clip(part, thrift, room, pairs if noisy else None) for part, thrift in versions]
    looked_at = [coding.clip(part, judged, room, judged_by if noisy else None) for part in parts.validation]
    tested, quality = coding.held_out(parts.test, judged, held if noisy else None)
    return CodedFootage(
        palette=palette,
        train=train,
        validation=looked_at,
        test=tested,
        psnr=quality,
        frame_rate=float(surveys[0].rate),
        split=parts.words,
        shades=b"" if noisy else _shades(sample, palette),
        noise=noise,
        left_out=sum(part.stop - part.start - len(clip) for (part, _), clip in zip(versions, train, strict=True)),
        pairs=pairs,
        judged=judged_by,
        held=held,
    )


def _versions(parts: Sequence[Part], thrifts: Mapping[int, Thrift]) -> list[tuple[Part, Noise]]:
    """Which parts are learned from in which qualities: each in as many as `CODED_FRAMES` allow, in turn."""
    times = max(1, min(len(TRAINED_QUALITIES), CODED_FRAMES // _frames(parts)))
    qualities = cycle(TRAINED_QUALITIES)
    return [(part, thrifts[next(qualities)]) for part in parts for _ in range(times)]


def _frames(parts: Sequence[Part]) -> int:
    return sum(part.stop - part.start for part in parts)


def _shades(sample: Sequence[Image], palette: NDArray[np.uint8]) -> bytes:
    """Of the colours of some pictures that are not in the palette."""
    further = without(frequent_colours(sample), palette)
    if not 0 < len(further) <= MAX_MODEL_SHADES:
        return b""
    stored: bytes = ShadesTransform(palette, further).parameters["shades"]
    return stored


@dataclass(frozen=True)
class _Coding:
    """How pictures become codes."""

    names: Sequence[str]
    transform: PaletteTransform
    size: tuple[int, int] | None
    hold: int

    def clip(self, part: Part, thrift: Noise, room: int, pairs: Pairs | None) -> CodeClip:
        """The grids of a part, as many as fit into `room` bytes; some are kept with their pictures as `pairs`."""
        clip = CodeClip(self.hold)
        for picture, codes in self._coded(part, thrift):
            clip.append(codes)
            if pairs is not None:
                pairs.add(picture, codes, part.clip)
            if clip.bytes > room:
                break
        return clip

    def held_out(self, parts: Sequence[Part], thrift: Noise, pairs: Pairs | None) -> tuple[list[CodeClip], list[float]]:
        """The beginning of each test part, and the palette's PSNR on it; some pictures are kept as `pairs`."""
        clips, quality = [], []
        for part in parts:
            clip, values = CodeClip(self.hold), list[float]()
            for picture, codes in self._coded(part, thrift):
                values.append(float(psnr(picture[None], self.transform.decode(codes[None, None]))[0]))
                clip.append(codes)
                if pairs is not None:
                    pairs.add(picture, codes, part.clip)
                if len(clip) * codes.size * len(parts) > TEST_BYTES:
                    break
            clips.append(clip)
            quality.append(float(np.mean(values)))
        return clips, quality

    def _coded(self, part: Part, thrift: Noise) -> Iterator[tuple[Image, Grid]]:
        """Pictures and their codes, uint8 [h, w]: the nearest colours, or of noisy footage those worth a change."""
        errors = None if thrift is None else thrift.errors(colour_errors(self.transform.palette))
        last: Grids | None = None
        with VideoReader(self.names[part.clip]) as reader:
            frames = islice(pictures(reader, self.size), part.start, part.stop)
            while window := list(islice(frames, 1 if thrift is None else LOOK_AHEAD)):
                codes = self.transform.encode(np.stack(window))[:, :1]
                if thrift is not None and errors is not None:
                    codes = steady_codes(codes, errors, thrift.change, last)
                last = codes[-1]
                yield from zip(window, codes[:, 0], strict=True)
