"""How far pictures are from their originals."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pacodec.common.media import Pictures

LOSSLESS_PSNR = 100.0
"""What exact pictures count as, in dB, so that means stay finite."""


def mean_squared_errors(original: Pictures, decoded: Pictures) -> NDArray[np.float64]:
    """Mean squared error of each frame of uint8 [n, H, W, 3] over all its RGB values."""
    import cv2  # several times faster than numpy, but not for commands that measure nothing

    pairs = zip(original, decoded, strict=True)
    return np.array([round(cv2.norm(a, b, cv2.NORM_L2SQR)) / a.size for a, b in pairs], np.float64)


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
        """Of pictures uint8 [n, H, W, 3]."""
        errors = mean_squared_errors(original, decoded)
        return cls(len(errors), float(errors.sum()), float(errors.max(initial=0)))

    def __add__(self, other: "Distortion") -> "Distortion":
        return Distortion(self.frames + other.frames, self.total + other.total, max(self.worst, other.worst))

    @property
    def psnr(self) -> float:
        """dB of the error pooled over all frames."""
        return decibels(self.total / self.frames) if self.frames else LOSSLESS_PSNR

    @property
    def worst_psnr(self) -> float:
        """dB of the worst frame."""
        return decibels(self.worst)
