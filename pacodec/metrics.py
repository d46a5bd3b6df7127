"""How far pictures are from their originals."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacodec.errors import CorruptFileError
from pacodec.transforms.base import Pictures

PEAK = 255
LOSSLESS_PSNR = 100.0
"""What an exact frame counts as, in dB, where a mean of frames must stay finite."""
_CHUNK = 1 << 15
"""Values whose squared errors are summed at once: as many as 32-bit integers hold the sum of."""


def psnr(original: Pictures, decoded: Pictures) -> NDArray[np.float64]:
    """PSNR in dB of each frame of uint8 [n, H, W, 3] over all its RGB values, peak 255; `LOSSLESS_PSNR` where exact."""
    mean = squared_errors(original, decoded) / max(1, original[0].size if len(original) else 1)
    with np.errstate(divide="ignore"):
        return np.asarray(np.minimum(10 * np.log10(PEAK**2 / mean), LOSSLESS_PSNR), np.float64)


def squared_errors(original: Pictures, decoded: Pictures) -> NDArray[np.int64]:
    """The sum of squared differences over all values of each frame of uint8 [n, H, W, 3], exactly, as int64 [n].

    ValueError where the shapes differ.
    """
    if original.shape != decoded.shape:
        raise ValueError(f"pictures of shape {decoded.shape} for ones of {original.shape}")
    sums = np.zeros(len(original), np.int64)
    for number, (a, b) in enumerate(zip(original, decoded, strict=True)):
        ours, theirs = np.ascontiguousarray(a).ravel(), np.ascontiguousarray(b).ravel()
        for start in range(0, len(ours), _CHUNK):
            difference = ours[start : start + _CHUNK].astype(np.int32) - theirs[start : start + _CHUNK]
            sums[number] += int(np.einsum("i,i->", difference, difference))
    return sums


class Distortion:
    """The error of any number of frames, added as they come: pooled over all of them, and that of the worst one.

    The pooled PSNR is that of the mean squared error over every RGB value of every frame, so that bad frames count for
    what they are and exact ones cannot hide them. Sums are integers: the order in which frames are added, and parts are
    put together, changes nothing.
    """

    def __init__(self) -> None:
        self.frames = 0
        """Frames compared so far."""
        self.worst_frame: int | None = None
        """The number of the frame that is farthest off, the first of several; None while all are exact."""
        self._squared_error = self._values = 0
        self._worst_error = self._worst_values = 0

    def add(self, original: Pictures, decoded: Pictures, first: int | None = None) -> NDArray[np.int64]:
        """Count frames of uint8 [n, H, W, 3], numbered from `first` (by default from those counted before); the squared
        error of each. ValueError where the shapes differ.
        """
        errors = squared_errors(original, decoded)
        number = self.frames if first is None else first
        for offset, error in enumerate(errors.tolist()):
            self.add_error(error, original[0].size, number + offset)
        return errors

    def add_error(self, squared_error: int, values: int, number: int | None = None) -> None:
        """Count one frame of `values` RGB values whose summed squared error is known."""
        part = Distortion()
        part.frames, part._squared_error, part._values = 1, squared_error, values
        if squared_error:
            part.worst_frame = self.frames if number is None else number
            part._worst_error, part._worst_values = squared_error, values
        self.merge(part)

    def merge(self, other: "Distortion") -> None:
        """Count all frames of another part of the same clip, whose frame numbers are those of the clip."""
        self.frames += other.frames
        self._squared_error += other._squared_error
        self._values += other._values
        if other.worst_frame is None:
            return
        # Means compared without a division: a / b > c / d.
        ours, theirs = self._worst_error * other._worst_values, other._worst_error * self._worst_values
        earlier = self.worst_frame is not None and ours == theirs and other.worst_frame < self.worst_frame
        if self.worst_frame is None or theirs > ours or earlier:
            self.worst_frame = other.worst_frame
            self._worst_error, self._worst_values = other._worst_error, other._worst_values

    @property
    def exact(self) -> bool:
        """Whether every value of every frame is as it was."""
        return not self._squared_error

    @property
    def psnr(self) -> float:
        """Pooled PSNR in dB over all frames; infinite where exact."""
        return _decibels(self._squared_error, self._values)

    @property
    def worst_psnr(self) -> float:
        """PSNR in dB of the worst frame; infinite where all are exact."""
        return _decibels(self._worst_error, self._worst_values)

    def __str__(self) -> str:
        if self.exact:
            return "exact"
        return f"{self.psnr:.2f} dB PSNR in RGB, worst frame {self.worst_psnr:.2f} dB (number {self.worst_frame})"

    def to_dict(self) -> dict[str, int | None]:
        """Integers that JSON and msgpack can hold; `from_dict` is the inverse."""
        return {
            "frames": self.frames,
            "squared_error": self._squared_error,
            "values": self._values,
            "worst_frame": self.worst_frame,
            "worst_error": self._worst_error,
            "worst_values": self._worst_values,
        }

    @classmethod
    def from_dict(cls, data: object) -> "Distortion":
        """Read what `to_dict` gave from untrusted data; CorruptFileError where it is not that."""
        fields = data if isinstance(data, Mapping) else {}
        names = ("frames", "squared_error", "values", "worst_error", "worst_values")
        numbers: list[Any] = [fields.get(name) for name in names]
        worst_frame = fields.get("worst_frame")
        optional = [] if worst_frame is None else [worst_frame]
        if any(not isinstance(number, int) or isinstance(number, bool) or number < 0 for number in numbers + optional):
            raise CorruptFileError("the record of the distortion is malformed")
        found = cls()
        found.frames, found._squared_error, found._values, found._worst_error, found._worst_values = numbers
        found.worst_frame = worst_frame
        return found


def _decibels(squared_error: int, values: int) -> float:
    return 10 * math.log10(PEAK**2 * values / squared_error) if squared_error else math.inf
