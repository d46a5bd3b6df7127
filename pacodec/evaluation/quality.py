"""Objective quality of decoded frames: PSNR, SSIM and MS-SSIM, all in RGB."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pacodec.common.media import Image
from pacodec.common.metrics import LOSSLESS_PSNR, Distortion
from pacodec.common.similarity import similarity

SIMILARITY_FRAMES = 120
"""SSIM and MS-SSIM are taken on at most so many frames of a clip, evenly spread."""


@dataclass(frozen=True)
class Quality:
    """What `measure` found: `squared_error` of each frame is the mean over its RGB values, 255 squared at most."""

    squared_error: list[float]
    ssim: list[float]
    ms_ssim: list[float]

    @property
    def exact(self) -> bool:
        """Whether every value came back."""
        return not any(self.squared_error)

    @property
    def frame_psnr(self) -> NDArray[np.float64]:
        """PSNR in dB of each frame; `LOSSLESS_PSNR` at most, so that means stay finite."""
        errors = np.array(self.squared_error)
        with np.errstate(divide="ignore"):
            return np.asarray(np.minimum(10 * np.log10(255**2 / errors), LOSSLESS_PSNR), np.float64)

    @property
    def psnr(self) -> float:
        """Mean over frames of each frame's PSNR, in dB."""
        return float(self.frame_psnr.mean())

    @property
    def distortion(self) -> Distortion:
        """The error pooled over all frames, which bad frames weigh on more, and that of the worst one."""
        return Distortion(len(self.squared_error), sum(self.squared_error), max(self.squared_error))


def measure(originals: Iterable[Image], decoded: Iterable[Image], *, stride: int = 1) -> Quality:
    """Compare frames, uint8 [H, W, 3] each; ValueError where one has more of them than the other.

    Errors are of every frame, similarities of every `stride`-th: they cost as much as a fast encoder. MS-SSIM takes as
    many scales as the window fits into (4 at 160x200, with their weights made to sum to 1); both are the mean over the
    three channels. VMAF is left out: its model judges television pictures, and PyAV's FFmpeg lacks it.
    """
    errors: list[float] = []
    similarities: list[tuple[float, float]] = []
    for number, (original, picture) in enumerate(zip(originals, decoded, strict=True)):
        if original.shape != picture.shape:
            raise ValueError(f"a picture of shape {picture.shape} for one of {original.shape}")
        difference = original.astype(np.int32) - picture
        errors.append(float(np.square(difference).mean()))
        if number % stride == 0:
            similarities.append(similarity(original, picture) if errors[-1] else (1.0, 1.0))
    ssim, ms_ssim = zip(*similarities, strict=True)
    return Quality(errors, list(ssim), list(ms_ssim))
