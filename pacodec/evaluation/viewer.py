"""The frames that a person should look at: ours worst first, beside the original and the peers at equal bytes."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from pacodec.common.media import Image
from pacodec.evaluation.clips import Clip
from pacodec.evaluation.curves import Setting
from pacodec.evaluation.matrix import CodingTask, Measurement, describe
from pacodec.evaluation.worker import codec_of, read_packets

WORST_FRAMES = 3


@dataclass(frozen=True)
class Shown:
    """One codec's version of one frame, as PNG; `psnr` is None for the original and where exact."""

    name: str
    psnr: float | None
    png: bytes


@dataclass(frozen=True)
class ViewedFrame:
    """One frame in all versions, the original first, ours second."""

    number: int
    versions: list[Shown]


@dataclass(frozen=True)
class View:
    """The frames of one clip, the worst first."""

    frames: list[ViewedFrame]


def matching(
    at: Callable[[int], Setting], rates: Sequence[int], measured: Sequence[Measurement], wanted: int
) -> Setting:
    """The setting of a peer that comes nearest to `wanted` bytes: its rate is interpolated between those measured.

    `at` makes the setting of a rate; `rates`, best first, are those of `measured`.
    """
    sizes = [measurement.bytes for measurement in measured]
    if wanted >= sizes[0]:
        return at(rates[0])
    for (rate, size), (worse, smaller) in pairwise(zip(rates, sizes, strict=True)):
        if smaller <= wanted < size:
            part = math.log(size / wanted) / math.log(size / smaller)
            return at(round(rate + part * (worse - rate)))
    return at(rates[-1])


def frames_to_show(psnr: NDArray[np.float64], apart: int) -> list[int]:
    """The worst frames, each at least `apart` from the others, then the one of median quality."""
    chosen: list[int] = []
    for frame in np.argsort(psnr, kind="stable").tolist():
        if len(chosen) < WORST_FRAMES and all(abs(frame - other) >= apart for other in chosen):
            chosen.append(frame)
    middle = int(np.argsort(psnr, kind="stable")[len(psnr) // 2])
    return chosen if middle in chosen else [*chosen, middle]


def view(clip: Clip, shown: Sequence[tuple[CodingTask, Measurement]]) -> View:
    """The frames to show of a clip; the first of `shown` is ours, whose worst frames they are."""
    numbers = frames_to_show(shown[0][1].quality.frame_psnr, apart=max(1, round(clip.rate)))
    originals = clip.pictures()
    frames = {number: [Shown("original", None, _png(originals[number]))] for number in numbers}
    for task, measurement in shown:
        codec = codec_of(describe(task.setting.codec))
        decoded = codec.decode(clip, read_packets(measurement.packets))
        name = f"{task.curve.name} {task.setting.label}, {clip.kbps(measurement.bytes):.1f} kbit/s"
        psnr = measurement.quality.frame_psnr
        for number, picture in islice(enumerate(decoded), max(numbers) + 1):
            if number in frames:
                exact = not measurement.quality.squared_error[number]
                frames[number].append(Shown(name, None if exact else float(psnr[number]), _png(picture)))
    return View([ViewedFrame(number, frames[number]) for number in numbers])


def _png(rgb: Image) -> bytes:
    coded, data = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    assert coded
    return data.tobytes()
