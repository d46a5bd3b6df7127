"""How far pictures are from their originals."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pacodec.transforms.base import Pictures

LOSSLESS_PSNR = 100.0
"""What exact pictures count as, in dB, so that means stay finite."""


def mean_squared_errors(original: Pictures, decoded: Pictures) -> NDArray[np.float64]:
    """Mean squared error of each frame of uint8 [n, H, W, 3] over all its RGB values; ValueError for other shapes."""
    if original.shape != decoded.shape:
        raise ValueError(f"pictures of shape {decoded.shape} for ones of {original.shape}")
    errors = original.astype(np.int16) - decoded
    return np.asarray(np.square(errors, dtype=np.int32).mean((1, 2, 3), dtype=np.float64), np.float64)


def decibels(error: float) -> float:
    """PSNR in dB of a mean squared error, peak 255; at most `LOSSLESS_PSNR`."""
    return min(LOSSLESS_PSNR, float(10 * np.log10(255**2 / error))) if error else LOSSLESS_PSNR


def psnr(original: Pictures, decoded: Pictures) -> NDArray[np.float64]:
    """PSNR in dB of each frame of uint8 [n, H, W, 3] over all its RGB values, peak 255; `LOSSLESS_PSNR` where exact."""
    return np.array([decibels(float(error)) for error in mean_squared_errors(original, decoded)])


@dataclass(frozen=True)
class Distortion:
    """What some frames of one size lost: how many were measured, the sum of their mean squared errors, the largest of
    these, and the number of the frame that has it (the first of several; None where all are exact).

    The sum of two is that of all their frames together, in whatever order they come.
    """

    frames: int = 0
    total: float = 0.0
    worst: float = 0.0
    worst_frame: int | None = None

    @classmethod
    def of(cls, original: Pictures, decoded: Pictures, first: int = 0) -> "Distortion":
        """Of pictures uint8 [n, H, W, 3], the first of which has the number `first` in its clip."""
        errors = mean_squared_errors(original, decoded)
        worst = float(errors.max(initial=0))
        return cls(len(errors), float(errors.sum()), worst, first + int(errors.argmax()) if worst else None)

    def __add__(self, other: "Distortion") -> "Distortion":
        worse = max(self, other, key=lambda part: (part.worst, -(part.worst_frame or 0)))
        return Distortion(self.frames + other.frames, self.total + other.total, worse.worst, worse.worst_frame)

    def __str__(self) -> str:
        if self.exact:
            return "exact"
        return f"{self.psnr:.2f} dB PSNR in RGB, worst frame {self.worst_psnr:.2f} dB (number {self.worst_frame})"

    @property
    def exact(self) -> bool:
        """Whether every value of every frame came back."""
        return not self.total

    @property
    def psnr(self) -> float:
        """dB of the error pooled over all frames: that of the mean squared error of all their RGB values."""
        return decibels(self.total / self.frames) if self.frames else LOSSLESS_PSNR

    @property
    def worst_psnr(self) -> float:
        """dB of the worst frame."""
        return decibels(self.worst)
