"""How far pictures are from their originals: squared errors and PSNR, SSIM and MS-SSIM, all in RGB."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacodec.common.media import Image, Pictures

LOSSLESS_PSNR = 100.0
"""What exact pictures count as, in dB, so that means stay finite."""


def mean_squared_errors(original: Pictures, decoded: Pictures) -> NDArray[np.float64]:
    """Mean squared error of each frame of uint8 [n, H, W, 3] over all its RGB values."""
    pairs = zip(original, decoded, strict=True)
    return np.array([_squared_error(a, b) / a.size for a, b in pairs], np.float64)


def _squared_error(a: Image, b: Image) -> int:
    """Sum of squared errors of a picture."""
    differing = a != b
    if 8 * np.count_nonzero(differing) < a.size:  # as palettes leave it
        return int(np.square(a[differing].astype(np.int64) - b[differing]).sum())
    import cv2  # several times faster than numpy, but it takes a while to load

    return round(cv2.norm(a, b, cv2.NORM_L2SQR))


def row_errors(original: Pictures, decoded: Pictures) -> NDArray[np.float64]:
    """Sum of squared errors of each row of uint8 [H, W, 3] over all its RGB values, [H]."""
    errors = original.astype(np.int16) - decoded
    return np.asarray(np.square(errors, dtype=np.int32).sum((1, 2), dtype=np.float64), np.float64)


def decibels(error: float) -> float:
    """PSNR in dB of a mean squared error, peak 255; at most `LOSSLESS_PSNR`."""
    return min(LOSSLESS_PSNR, float(10 * np.log10(255**2 / error))) if error else LOSSLESS_PSNR


def psnr(original: Pictures, decoded: Pictures) -> NDArray[np.float64]:
    """PSNR in dB of each frame of uint8 [n, H, W, 3] over all its RGB values, peak 255; `LOSSLESS_PSNR` where exact."""
    return np.array([decibels(float(error)) for error in mean_squared_errors(original, decoded)])


@dataclass(frozen=True)
class Distortion:
    """What some frames lost: how many were measured, the sum of their mean squared errors, and the largest of these."""

    frames: int = 0
    total: float = 0.0
    worst: float = 0.0

    @classmethod
    def of(cls, original: Pictures, decoded: Pictures) -> "Distortion":
        """The distortion of decoded pictures uint8 [n, H, W, 3]."""
        errors = mean_squared_errors(original, decoded)
        return cls.of_errors(errors, np.ones(len(errors), np.int64))

    @classmethod
    def of_errors(cls, errors: NDArray[np.float64], shown: NDArray[np.int64]) -> "Distortion":
        """Of the mean squared errors of pictures, [n], each of which counts as often as it is shown, [n]."""
        return cls(int(shown.sum()), float((errors * shown).sum()), float(errors.max(initial=0)))

    def __add__(self, other: "Distortion") -> "Distortion":
        return Distortion(self.frames + other.frames, self.total + other.total, max(self.worst, other.worst))

    @property
    def psnr(self) -> float:
        """The PSNR in dB of the error pooled over all frames."""
        return decibels(self.total / self.frames) if self.frames else LOSSLESS_PSNR

    @property
    def worst_psnr(self) -> float:
        """The PSNR in dB of the worst frame."""
        return decibels(self.worst)


WINDOW, SIGMA = 11, 1.5
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of MS-SSIM's five scales (Wang, Simoncelli, Bovik 2003), finest first."""
Plane = NDArray[np.floating[Any]]
"""float32 [H, W, 3]."""
_KERNEL = np.exp(-np.square(np.arange(WINDOW) - WINDOW // 2) / (2 * SIGMA**2))
_KERNEL = (_KERNEL / _KERNEL.sum()).astype(np.float32)


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
    # Flat pictures come to a little more than 1 by rounding.
    return min(1.0, float(products[0].mean())), min(1.0, float(multi.mean()))


def _terms(a: Plane, b: Plane) -> tuple[Plane, Plane]:
    """SSIM's luminance term, and its contrast and structure term, wherever the whole window fits."""
    mean_a, mean_b = _blur(a), _blur(b)
    product, squares = mean_a * mean_b, mean_a * mean_a + mean_b * mean_b
    structure = (2 * (_blur(a * b) - product) + C2) / (_blur(a * a + b * b) - squares + C2)
    return (2 * product + C1) / (squares + C1), structure


def _blur(x: Plane) -> Plane:
    import cv2

    edge = WINDOW // 2
    return np.asarray(cv2.sepFilter2D(x, -1, _KERNEL, _KERNEL)[edge:-edge, edge:-edge], np.float32)


def _halve(x: Plane) -> Plane:
    import cv2

    height, width = x.shape[0] // 2 * 2, x.shape[1] // 2 * 2
    size = width // 2, height // 2
    return np.asarray(cv2.resize(x[:height, :width], size, interpolation=cv2.INTER_AREA), np.float32)
