"""Recordings at first reading: how they look, whether they are noisy, and which frames are trained on or held out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from pacodec.common.media import Image
from pacodec.common.pixels import ColourSet, resize
from pacodec.errors import UsageError
from pacodec.limits import MIB
from pacodec.video.reader import VideoReader


class Part(NamedTuple):
    """Frames start .. stop - 1 of a clip."""

    clip: int
    start: int
    stop: int


@dataclass(frozen=True)
class Split:
    """Which frames are for training, validation and test, and that in words."""

    train: list[Part]
    validation: list[Part]
    test: list[Part]
    words: str


MANY_CLIPS = 10
"""From so many on, some can be spared to validate on and others for the final report."""


def split(lengths: Sequence[int], validation: int, test: int) -> Split:
    """Roles of clips of so many frames, of which the last `validation` + `test` were named for those roles.

    Raises UsageError where there are too few frames.
    """
    whole = [Part(index, 0, length) for index, length in enumerate(lengths)]
    if validation or test:
        clips = len(whole) - validation - test
        first, second, third = whole[:clips], whole[clips : clips + validation], whole[clips + validation :]
        return Split(first, second or third, third or second, f"held out: {test or validation} clips as named")
    if 3 <= len(whole) < MANY_CLIPS and whole[-1].stop > 1:
        last, middle = whole[-1], whole[-1].stop // 2
        words = f"held out: the last of {len(whole)} clips, its first half for validation"
        return Split(whole[:-1], [last._replace(stop=middle)], [last._replace(start=middle)], words)
    if len(whole) >= 3:
        held = max(1, len(whole) // 10)
        words = f"held out: the last {held} of {len(whole)} clips, and {held} before for validation"
        return Split(whole[: -2 * held], whole[-2 * held : -held], whole[-held:], words)
    total = sum(lengths)
    if total < 5:
        raise UsageError(f"{total} frames are too few to train on and to hold some out")
    cut = min(total * 8 // 10, total - 2)
    end = max(cut + 1, total * 9 // 10)
    words = "held out: the last tenth of the footage (too few clips to keep one out), a tenth before for validation"
    return Split(_between(whole, 0, cut), _between(whole, cut, end), _between(whole, end, total), words)


def _between(parts: list[Part], start: int, stop: int) -> list[Part]:
    """Frames start .. stop - 1 of all parts one after the other."""
    found, at = [], 0
    for clip, _, length in parts:
        first, last = max(start - at, 0), min(stop - at, length)
        if first < last:
            found.append(Part(clip, first, last))
        at += length
    return found


SAMPLE_BYTES = 256 * MIB
"""Memory for the frames that the palette is learned from."""
SAMPLE_FRAMES = 64
"""Of a clip, at most."""
NOISE = 16
"""Levels that a pixel may change by from frame to frame and still count as noise."""
_DEFAULT_RATE = Fraction(30)


@dataclass(frozen=True)
class ClipSurvey:
    """A clip at first reading: its length, and some frames (number, picture) evenly spread."""

    frames: int
    rate: Fraction
    sample: list[tuple[int, Image]]
    noise: float
    """Share of pixels that change a little from frame to frame, the mean of some frames."""

    def within(self, part: Part) -> Iterator[Image]:
        """The sampled frames that lie in a part."""
        return (picture for number, picture in self.sample if part.start <= number < part.stop)


def survey_clips(names: Sequence[str], size: tuple[int, int] | None, colours: ColourSet) -> list[ClipSurvey]:
    """Of all clips, scaled to `size` (height, width) if that is given, whose colours are added to `colours`.

    Raises what `VideoReader` raises.
    """
    return [_survey(name, size, len(names), colours) for name in names]


def _survey(name: str, size: tuple[int, int] | None, clips: int, colours: ColourSet) -> ClipSurvey:
    sample: list[tuple[int, Image]] = []
    count, stride = 0, 1
    noise: list[float] = []
    last: Image | None = None
    with VideoReader(name) as reader:
        rate = reader.format.frame_rate or _DEFAULT_RATE
        room = min(SAMPLE_FRAMES, max(4, SAMPLE_BYTES // clips // (reader.format.width * reader.format.height * 3)))
        for count, picture in enumerate(pictures(reader, size), 1):
            colours.add(picture)
            if (count - 1) % stride == 0:
                if last is not None:
                    noise.append(_noise(last, picture))
                sample.append((count - 1, picture))
            if len(sample) > room:
                stride *= 2
                sample = [(number, kept) for number, kept in sample if number % stride == 0]
            last = picture
    return ClipSurvey(count, rate, sample, float(np.mean(noise)) if noise else 0.0)


def _noise(last: Image, picture: Image) -> float:
    """Share of pixels that change, by at most `NOISE` levels."""
    moved = np.abs(picture.astype(np.int16) - last).max(2)
    return float(((moved > 0) & (moved <= NOISE)).mean())


def pictures(reader: VideoReader, size: tuple[int, int] | None) -> Iterator[Image]:
    """All frames, uint8 [H, W, 3], scaled to `size` (height, width) if that is given."""
    for frame in reader.frames():
        yield frame.rgb if size is None else resize(frame.rgb[None], *size)[0]
