"""What a comparison found, as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from pacodec.evaluation.clips import Clip
from pacodec.evaluation.matrix import Measurement, Timing
from pacodec.evaluation.viewer import View


@dataclass(frozen=True)
class Point:
    """One setting's size and quality."""

    label: str
    kbps: float
    measurement: Measurement
    break_even: "BreakEven | None" = None

    @property
    def model_bytes(self) -> int:
        """The bytes of the model that a decoder needs beside the file."""
        return int(self.measurement.notes.get("model_bytes", 0))

    def to_dict(self) -> dict[str, Any]:
        """Sizes in bytes, rates in kbit/s, PSNR in dB; `pooled_psnr` and `worst_psnr` are null where exact."""
        quality = self.measurement.quality
        return {
            "setting": self.label,
            "bytes": self.measurement.bytes,
            "kbps": self.kbps,
            "bytes_with_model": self.measurement.bytes + self.model_bytes,
            "exact": quality.exact,
            "psnr": quality.psnr,
            "pooled_psnr": None if quality.exact else quality.distortion.psnr,
            "worst_psnr": None if quality.exact else quality.distortion.worst_psnr,
            "ssim": sum(quality.ssim) / len(quality.ssim),
            "ms_ssim": sum(quality.ms_ssim) / len(quality.ms_ssim),
            "break_even": self.break_even and vars(self.break_even),
            "notes": self.measurement.notes,
        }


@dataclass(frozen=True)
class BreakEven:
    """Against the peer that needs the least at the same PSNR: the footage in minutes after which ours, model included,
    is smaller; None where it never is. `peer` is None where no peer reaches that PSNR."""

    peer: str | None
    peer_kbps: float | None
    minutes: float | None


@dataclass(frozen=True)
class CurveResult:
    """One codec on one clip."""

    name: str
    ours: bool
    points: list[Point]
    reference: int
    """Index of the point whose speed `timing` is."""
    timing: Timing | None

    def lossy(self) -> list[Point]:
        """The points that are not exact."""
        return [point for point in self.points if not point.measurement.quality.exact]

    def to_dict(self, frames: int) -> dict[str, Any]:
        """Speeds in frames/s, medians on one core; peak memory in bytes."""
        timing = self.timing and {
            "setting": self.points[self.reference].label,
            "encode_fps": frames / median(self.timing.encode_seconds),
            "decode_fps": frames / median(self.timing.decode_seconds),
            "encode_memory": self.timing.encode_memory,
            "decode_memory": self.timing.decode_memory,
            "runs": len(self.timing.encode_seconds),
        }
        points = [point.to_dict() for point in self.points]
        return {"name": self.name, "ours": self.ours, "timing": timing, "points": points}


@dataclass(frozen=True)
class EqualPsnr:
    """How many percent more bytes (negative: fewer) a curve needs than the anchor at one PSNR, in dB.

    Where one of the two does not reach that PSNR, its nearest point stands for it, and `bound` says on which side of
    `percent` the truth lies: "at most" or "at least".
    """

    psnr: float
    percent: float
    bound: str | None = None


@dataclass(frozen=True)
class BdRate:
    """How many percent more bytes (negative: fewer) a curve needs than the anchor, mean over the PSNR that both have.

    `percent` is None where that means nothing; `reason` says why, and `instead` is what can be said, if anything.
    """

    percent: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None
    instead: EqualPsnr | None = None

    def to_dict(self) -> dict[str, Any]:
        """Values that JSON can hold: PSNR in dB, null for what is missing."""
        return {**vars(self), "instead": self.instead and vars(self.instead)}


@dataclass(frozen=True)
class ClipResult:
    """All curves of one clip; `bd_rates[curve][anchor]`."""

    clip: Clip
    curves: list[CurveResult]
    bd_rates: Mapping[str, Mapping[str, BdRate]]
    view: View | None = field(default=None, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Values that JSON can hold, without the pictures."""
        clip = self.clip
        return {
            "clip": clip.name,
            "sha256": clip.sha256,
            "frames": clip.frames,
            "width": clip.width,
            "height": clip.height,
            "fps": float(clip.rate),
            "duration": clip.duration,
            "curves": [curve.to_dict(clip.frames) for curve in self.curves],
            "bd_rates": {
                name: {anchor: rate.to_dict() for anchor, rate in row.items()} for name, row in self.bd_rates.items()
            },
        }


@dataclass(frozen=True)
class Evaluation:
    """A whole run. `settings` says how the frames were made."""

    clips: list[ClipResult]
    settings: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The object that `--json` writes."""
        return {"version": 1, "settings": dict(self.settings), "clips": [clip.to_dict() for clip in self.clips]}
