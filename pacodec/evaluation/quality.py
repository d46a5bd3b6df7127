"""Objective quality of decoded frames: PSNR, SSIM and MS-SSIM, all in RGB."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pacodec.media import Image
from pacodec.metrics import LOSSLESS_PSNR, Distortion

SIMILARITY_FRAMES = 120
"""SSIM and MS-SSIM are taken on at most so many frames of a clip, evenly spread."""
WINDOW, SIGMA = 11, 1.5
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of MS-SSIM's five scales (Wang, Simoncelli, Bovik 2003), finest first."""
Plane = NDArray[np.floating[Any]]
"""float32 [H, W, 3]."""
_KERNEL = cv2.getGaussianKernel(WINDOW, SIGMA).astype(np.float32)


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


def similarity(original: Image, picture: Image) -> tuple[float, float]:
    """SSIM and MS-SSIM of one frame, uint8 [H, W, 3]."""
    # A side smaller than the window is mirrored up to it.
    grow = [(0, max(0, WINDOW - side)) for side in original.shape[:2]]
    a, b = (np.pad(x, (*grow, (0, 0)), "symmetric").astype(np.float32) for x in (original, picture))
    scales = sum(min(a.shape[:2]) >> scale >= WINDOW for scale in range(len(SCALE_WEIGHTS)))
    products, structures = [], []
    for _ in range(scales):
        luminance, structure = _terms(a, b)
        products.append((luminance * structure).mean((0, 1)))
        structures.append(structure.mean((0, 1)))
        a, b = _halve(a), _halve(b)
    weights = np.array(SCALE_WEIGHTS[:scales])
    factors = np.maximum([*structures[:-1], products[-1]], 0)
    multi = np.prod(factors ** (weights / weights.sum())[:, None], axis=0)
    return float(products[0].mean()), float(multi.mean())


def _terms(a: Plane, b: Plane) -> tuple[Plane, Plane]:
    """SSIM's luminance term, and its contrast and structure term, wherever the whole window fits."""
    mean_a, mean_b = _blur(a), _blur(b)
    product, squares = mean_a * mean_b, mean_a * mean_a + mean_b * mean_b
    structure = (2 * (_blur(a * b) - product) + C2) / (_blur(a * a + b * b) - squares + C2)
    return (2 * product + C1) / (squares + C1), structure


def _blur(x: Plane) -> Plane:
    edge = WINDOW // 2
    return np.asarray(cv2.sepFilter2D(x, -1, _KERNEL, _KERNEL)[edge:-edge, edge:-edge], np.float32)


def _halve(x: Plane) -> Plane:
    height, width = x.shape[0] // 2 * 2, x.shape[1] // 2 * 2
    size = width // 2, height // 2
    return np.asarray(cv2.resize(x[:height, :width], size, interpolation=cv2.INTER_AREA), np.float32)
