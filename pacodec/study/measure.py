"""One row of the table: quality on all test frames, bytes and speed of real .pac files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from math import prod
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

import numpy as np
import torch

from pacodec.coders import FULL_LEVELS, LatentCoder, latent_coder
from pacodec.decoder import Decoder
from pacodec.encoder import encode
from pacodec.evaluation.quality import measure
from pacodec.fit import Frames
from pacodec.media import VideoFormat
from pacodec.study.dataset import HEIGHT, WIDTH
from pacodec.study.networks import Row
from pacodec.study.published import published
from pacodec.transforms.registry import build
from pacodec.video.writer import VideoWriter
from pacodec.weights import ModelFile

FRAME_BYTES = 3 * HEIGHT * WIDTH
RATE = Fraction(3)
"""Frames a second of the test clips: every tenth of 30."""
BITS = {256: 8, 16: 4}
FILE_FRAMES = 24
"""Frames of each test recording that a .pac file is made of."""
COARSE = 1
"""The quality of `encode` at which quantizers get 16 levels."""
SSIM_SETTINGS = (
    "SSIM: Gaussian window 11x11, sigma 1.5, K1 0.01, K2 0.03, data range 255, population covariance, "
    "mean over the three RGB channels, then over frames, without the borders that the window does not fit into"
)


@dataclass(frozen=True)
class Quality:
    """How good a model and a quantizer made the test frames."""

    frames: int
    psnr: float
    """Mean over frames, dB."""
    psnr_low: float
    """5th percentile of frames; of several clips, the lowest."""
    ssim: float


@dataclass(frozen=True)
class Coded(Quality):
    """The same, with what real files of it were like."""

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
    minutes: float
    frames: int
    """Trained on."""
    psnr_float32: float
    """Of the weights in single precision, with 8-bit codes (naive)."""
    coded: Coded
    compact: Quality | None
    clips: Mapping[str, Coded]
    """`coded`, of each test recording by name."""
    study: dict[str, Any] | None
    model: str
    """sha256 of the model file."""
    data: str
    """sha256 of the data set."""

    def to_dict(self) -> dict[str, Any]:
        """Values that JSON can hold; `from_dict` is the inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Result":
        """Read what `to_dict` gave; TypeError or KeyError where it is of another version."""
        compact, clips = data["compact"], {name: Coded(**each) for name, each in data["clips"].items()}
        small = compact and Quality(**compact)
        return cls(**{**data, "coded": Coded(**data["coded"]), "compact": small, "clips": clips})


Q = TypeVar("Q", bound=Quality)


class TestClips:
    """The test frames, and the first of each recording as a lossless video file, which `encode` reads."""

    __test__ = False  # pytest would take it for a test

    def __init__(self, clips: Mapping[str, Frames], folder: Path) -> None:
        self.clips, self.folder = clips, folder
        for name, clip in clips.items():
            with VideoWriter(self._path(name), VideoFormat(WIDTH, HEIGHT, 1 / RATE, RATE), codec="lossless") as writer:
                for index, frame in enumerate(clip[:FILE_FRAMES]):
                    writer.write_frame(frame, index, 1)

    def look(self, model: ModelFile, row: Row, device: str) -> dict[str, Quality]:
        """How good each comes out. The network is loaded once: of a large one that takes longer than its use."""
        coder = latent_coder(model, _quantizer(row), HEIGHT, WIDTH, levels=row.levels, device=device)
        return {name: _look(clip, coder) for name, clip in self.clips.items()}

    def code(self, model: Path, row: Row, device: str) -> dict[str, Coded]:
        """Make files of them too."""
        seen = self.look(ModelFile.read(model), row, device)
        return {name: self._code(name, quality, model, row, device) for name, quality in seen.items()}

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.mkv"

    def _code(self, name: str, quality: Quality, model: Path, row: Row, device: str) -> Coded:
        target = self.folder / "coded.pac"
        done = encode(
            str(self._path(name)),
            str(target),
            model=str(model),
            quantizer=_quantizer(row),
            quality=COARSE if row.levels < FULL_LEVELS else None,
            device=device,
            overwrite=True,
            gop_seconds=FILE_FRAMES / float(RATE) + 1,
        )
        with Decoder(target, model=str(model), device=device) as video:
            began = monotonic()
            decoded = sum(1 for _ in video)
            seconds = monotonic() - began
        return Coded(
            **vars(quality),
            pac_ratio=done.bytes / (decoded * FRAME_BYTES),
            encode_fps=decoded / done.seconds,
            decode_fps=decoded / seconds,
        )


def _quantizer(row: Row) -> str:
    """That of the files: of learned levels, as many centroids."""
    return "kmeans" if row.quantizer == "learned" else row.quantizer


def _look(clip: Frames, coder: LatentCoder) -> Quality:
    latents = coder.analyse(clip)
    parameters = coder.fit(latents)
    quality = measure(clip, coder.decode(coder.quantize(latents, parameters), {}, parameters))
    return Quality(
        frames=len(clip),
        psnr=quality.psnr,
        psnr_low=float(np.percentile(quality.frame_psnr, 5)),
        ssim=float(np.mean(quality.ssim)),
    )


def mean_quality(qualities: Mapping[str, Quality]) -> Quality:
    """All clips together, each frame counting alike."""
    parts = list(qualities.values())
    return Quality(
        frames=sum(part.frames for part in parts),
        psnr=_weighted(parts, lambda part: part.psnr),
        psnr_low=min(part.psnr_low for part in parts),
        ssim=_weighted(parts, lambda part: part.ssim),
    )


def mean(coded: Mapping[str, Coded]) -> Coded:
    """All clips together, each frame counting alike."""
    parts = list(coded.values())
    return Coded(
        **vars(mean_quality(coded)),
        pac_ratio=_weighted(parts, lambda part: part.pac_ratio),
        encode_fps=1 / _weighted(parts, lambda part: 1 / part.encode_fps),
        decode_fps=1 / _weighted(parts, lambda part: 1 / part.decode_fps),
    )


def _weighted(parts: Sequence[Q], figure: Callable[[Q], float]) -> float:
    return sum(part.frames * figure(part) for part in parts) / sum(part.frames for part in parts)


def measure_row(row: Row, model: Path, compact: Path | None, clips: TestClips, device: str) -> Result:
    """Measure a row with its trained model, and with the model's compact form if there is one."""
    file = ModelFile.read(model)
    training = file.info.training
    with torch.device("meta"):
        network = build(file.info.arch, file.info.hyperparameters, folded=True)
    values = prod(network.grid(HEIGHT, WIDTH))
    bits = 32 if row.quantizer == "none" else BITS[row.levels]
    coded = clips.code(model, row, device)
    known = published(row.network.name, row.quantizer) if row.levels == FULL_LEVELS else None
    return Result(
        row=row.name,
        network=row.network.name,
        quantizer=row.quantizer,
        levels=row.levels,
        values=values,
        ratio=values * bits / 8 / FRAME_BYTES,
        trained_bytes=4 * sum(value.numel() for value in network.state_dict().values()),
        stored_bytes=model.stat().st_size,
        compact_bytes=compact.stat().st_size if compact else None,
        steps=training.get("steps", 0),
        epochs=training.get("steps", 0) * training.get("batch", row.network.batch) / training["frames"],
        minutes=training.get("seconds", 0) / 60,
        frames=training["frames"],
        psnr_float32=training.get("psnr_float32", file.info.quality["psnr"]),
        coded=mean(coded),
        compact=mean_quality(clips.look(ModelFile.read(compact), row, device)) if compact else None,
        clips=coded,
        study=asdict(known) if known else None,
        model=file.sha256.hex(),
        data=str(training.get("data", "")),
    )


def example_frames(model: Path, pictures: Frames, device: str) -> Frames:
    """Pictures as the naive quantizer gives them back."""
    coder = latent_coder(ModelFile.read(model), "naive", HEIGHT, WIDTH, device=device)
    return coder.decode(coder.quantize(coder.analyse(pictures), {}), {}, {})
