"""One row of the table, as it was measured: figures, means over recordings, and their way to JSON and back.

And what the study reported: its results table and its three demo clips.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

MEASURE = 2
"""Raised whenever rows are measured in another way, so that those that are kept are measured anew."""


@dataclass(frozen=True)
class RowQuality:
    """How good a model and a quantizer made the test frames."""

    frames: int
    psnr: float
    """Mean over frames, dB."""
    psnr_low: float
    """5th percentile of frames; of several clips, the lowest."""
    ssim: float


@dataclass(frozen=True)
class Coded(RowQuality):
    """The quality, and the size and speed of real files."""

    pac_ratio: float
    """Bytes of the .pac files over those of the frames."""
    encode_fps: float
    decode_fps: float


@dataclass(frozen=True)
class Result:
    """One row of the table, with the study's own figures where it has that row."""

    row: str
    network: str
    quantizer: str
    levels: int
    values: int
    """Code values a frame."""
    ratio: float
    """By the study's definition: bytes of the code, before entropy coding, over those of the frame."""
    trained_bytes: int
    """Of the weights in single precision, as in the study."""
    stored_bytes: int
    """Of the model file."""
    compact_bytes: int | None
    steps: int
    epochs: float
    """Pixels seen in training, over those of the training frames."""
    minutes: float
    late_gain: float | None
    """What the last third of the steps gained on the validation frames, dB; None where nothing was trained."""
    frames: int
    """Trained on."""
    psnr_float32: float
    """Of the weights in single precision, with 8-bit codes (naive)."""
    coded: Coded
    compact: RowQuality | None
    clips: Mapping[str, Coded]
    """`coded`, of each test recording by name."""
    study: dict[str, Any] | None
    model: str
    """sha256 of the model file."""
    data: str
    """sha256 of the data set."""
    measure: int = MEASURE

    def to_dict(self) -> dict[str, Any]:
        """Values that JSON can hold; `from_dict` is the inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Result":
        """Read what `to_dict` gave; TypeError or KeyError where it is of another version."""
        compact, clips = data["compact"], {name: Coded(**each) for name, each in data["clips"].items()}
        small = compact and RowQuality(**compact)
        return cls(**{**data, "coded": Coded(**data["coded"]), "compact": small, "clips": clips})


Q = TypeVar("Q", bound=RowQuality)


def mean_quality(qualities: Mapping[str, RowQuality]) -> RowQuality:
    """The mean of all clips, in which each frame counts alike."""
    parts = list(qualities.values())
    return RowQuality(
        frames=sum(part.frames for part in parts),
        psnr=_weighted(parts, lambda part: part.psnr),
        psnr_low=min(part.psnr_low for part in parts),
        ssim=_weighted(parts, lambda part: part.ssim),
    )


def mean(coded: Mapping[str, Coded]) -> Coded:
    """The mean of all clips, in which each frame counts alike."""
    parts = list(coded.values())
    return Coded(
        **vars(mean_quality(coded)),
        pac_ratio=_weighted(parts, lambda part: part.pac_ratio),
        encode_fps=1 / _weighted(parts, lambda part: 1 / part.encode_fps),
        decode_fps=1 / _weighted(parts, lambda part: 1 / part.decode_fps),
    )


def _weighted(parts: Sequence[Q], figure: Callable[[Q], float]) -> float:
    return sum(part.frames * figure(part) for part in parts) / sum(part.frames for part in parts)


@dataclass(frozen=True)
class Published:
    """One row of the study's table."""

    network: str
    quantizer: str
    epochs: int
    model_size: str
    ratio: str
    """Bytes of the code over those of the frame."""
    psnr: float
    """Mean over 491 frames, dB."""
    ssim: float


PUBLISHED = (
    Published("vanilla-1000", "none", 60, "768 MB", "2/3", 34.248, 0.947),
    Published("vanilla-1000", "naive", 60, "768 MB", "1/6", 36.013, 0.9442),
    Published("vanilla-1000", "scale", 60, "768 MB", "1/6", 24.751, 0.790),
    Published("vanilla-500", "none", 60, "385 MB", "1/3", 33.714, 0.945),
    Published("multilayer-1000", "none", 30, "3.3 GB", "2/3", 32.230, 0.947),
    Published("multilayer-1000", "naive", 30, "3.3 GB", "1/6", 32.251, 0.943),
    Published("multilayer-1000", "scale", 30, "3.3 GB", "1/6", 24.369, 0.790),
    Published("multilayer-500", "none", 30, "3.2 GB", "1/3", 32.359, 0.949),
    Published("conv4", "none", 320, "2.4 MB", "2/3", 30.364, 0.874),
    Published("conv5", "none", 320, "9.5 MB", "1/3", 29.022, 0.867),
    Published("vae", "none", 220, "410 MB", "1/12", 27.436, 0.908),
)

DEMOS = {
    "demo1": {
        "vanilla": (29.032, 0.900),
        "multilayer": (27.749, 0.896),
        "conv4": (28.357, 0.869),
        "conv5": (26.946, 0.862),
        "vae": (25.072, 0.863),
    },
    "demo2": {
        "vanilla": (31.253, 0.921),
        "multilayer": (31.041, 0.921),
        "conv4": (29.993, 0.895),
        "conv5": (28.934, 0.873),
        "vae": (27.923, 0.892),
    },
    "demo3": {
        "vanilla": (29.967, 0.896),
        "multilayer": (28.611, 0.900),
        "conv4": (28.172, 0.837),
        "conv5": (27.556, 0.849),
        "vae": (25.881, 0.871),
    },
}
"""(PSNR in dB, SSIM) of the authors' own clips, no quantizer."""


def published(network: str, quantizer: str) -> Published | None:
    """The study's row of that network and quantizer, if it has one."""
    return next((row for row in PUBLISHED if (row.network, row.quantizer) == (network, quantizer)), None)
