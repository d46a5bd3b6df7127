"""Recordings at first reading: how long they are, what they look like, and whether they are noisy."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from pacodec.common.media import Frame, Image
from pacodec.limits import MIB
from pacodec.training.holding_out import Part
from pacodec.transforms.colour_set import ColourSet
from pacodec.video.reader import VideoReader
from pacodec.video.resize import resize

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
        """Those of the frames that are of a part."""
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
    for event in reader:
        if isinstance(event, Frame):
            yield event.rgb if size is None else resize(event.rgb[None], *size)[0]
