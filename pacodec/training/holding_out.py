"""Which frames of the clips are trained on, which ones choices are made by, which ones the result is measured on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pacodec.errors import UsageError


class Part(NamedTuple):
    """Frames start .. stop - 1 of a clip."""

    clip: int
    start: int
    stop: int


@dataclass(frozen=True)
class Split:
    """Which frames have which role, and that in words."""

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
