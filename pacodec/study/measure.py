"""Measuring a model's rows of the table: quality on all test frames, bytes and speed of real .pac files."""

from collections.abc import Mapping
from dataclasses import asdict
from fractions import Fraction
from functools import cached_property
from math import prod
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacodec.autoencoders.neural import NeuralTransform
from pacodec.autoencoders.quantizers import QUANTIZERS
from pacodec.common.media import VideoFormat
from pacodec.container import Reader
from pacodec.evaluation.quality import measure
from pacodec.gop.choose_transform import TransformChoice
from pacodec.gop.grid_transforms import FULL_LEVELS, LatentGrids
from pacodec.gop.pictures import GopPictures
from pacodec.gop.pipeline import Pipeline
from pacodec.gop.priors import GopDecoders
from pacodec.models.files import ModelFile
from pacodec.options import EncodeOptions
from pacodec.study.dataset import HEIGHT, WIDTH
from pacodec.study.networks import Row
from pacodec.study.results import DEMOS, Coded, Result, RowQuality, mean, mean_quality, published
from pacodec.training.fit import Frames
from pacodec.training.loop import TrainingPlan
from pacodec.video.reader import VideoReader
from pacodec.video.writer import VideoWriter

FRAME_BYTES = 3 * HEIGHT * WIDTH
RATE = Fraction(3)
"""Frames a second of the test clips: every tenth of 30."""
BITS = {256: 8, 16: 4}
GOP_SECONDS = 10.0
GOP_FRAMES = int(GOP_SECONDS * RATE)
"""Frames that a quantizer is fitted to, and of each test recording that a .pac file is made of: one GOP."""
SSIM_SETTINGS = (
    "SSIM: Gaussian window 11x11, sigma 1.5, K1 0.01, K2 0.03, data range 255, population covariance, "
    "mean over the three RGB channels, then over frames, without the borders that the window does not fit into"
)


class TestClips:
    """The test frames, and the first of each recording as a lossless video file, which .pac files are made of."""

    __test__ = False  # pytest would take it for a test

    def __init__(self, clips: Mapping[str, Frames], folder: Path) -> None:
        self.clips, self.folder = clips, folder
        for name, clip in clips.items():
            with VideoWriter(self.path(name), VideoFormat(WIDTH, HEIGHT, 1 / RATE, RATE), codec="lossless") as writer:
                for index, frame in enumerate(clip[:GOP_FRAMES]):
                    writer.write_frame(frame, index, 1)

    def path(self, name: str) -> Path:
        """The path of a recording's video."""
        return self.folder / f"{name}.mkv"


class ModelBenchmark:
    """A model on the test frames: its network is loaded once, and sees them once, for all quantizers."""

    def __init__(self, model: Path, clips: TestClips, device: str) -> None:
        self.path, self.clips, self.device = model, clips, device

    @cached_property
    def file(self) -> ModelFile:
        """The model file."""
        return ModelFile.read(self.path)

    @cached_property
    def network(self) -> NeuralTransform:
        """The network of the model."""
        return NeuralTransform(self.file, self.device)

    @cached_property
    def latents(self) -> dict[str, NDArray[np.float32]]:
        """The latents of each test recording, float32 [n, C, h, w]."""
        return {name: self.network.analyse(clip) for name, clip in self.clips.clips.items()}

    def pictures(self, originals: Frames) -> Frames:
        """Pictures as the naive quantizer gives them back."""
        coder = LatentGrids(self.network, self.file, QUANTIZERS["naive"], HEIGHT, WIDTH)
        return coder.decode(coder.quantize(coder.analyse(originals), {}), {}, {})

    def qualities(self, row: Row) -> dict[str, RowQuality]:
        """The quality of each recording."""
        coder = self._coder(row)
        return {name: _quality(clip, self.latents[name], coder) for name, clip in self.clips.clips.items()}

    def code(self, row: Row) -> dict[str, Coded]:
        """The quality of each recording, and the size and speed of .pac files of them."""
        return {name: self._code(name, quality, row) for name, quality in self.qualities(row).items()}

    def _coder(self, row: Row) -> LatentGrids:
        # A network's own levels are kept exactly by as many centroids.
        quantizer = QUANTIZERS["kmeans" if row.quantizer == "learned" else row.quantizer]
        return LatentGrids(self.network, self.file, quantizer, HEIGHT, WIDTH, row.levels)

    def _code(self, name: str, quality: RowQuality, row: Row) -> Coded:
        """Write a file as `encode` does and read it as `Decoder` does, with the network that is loaded."""
        coder, target = self._coder(row), self.clips.folder / "coded.pac"
        options = EncodeOptions(audio=False, gop_seconds=GOP_SECONDS)
        with VideoReader(str(self.clips.path(name))) as source, target.open("wb") as file:
            done = Pipeline(source, TransformChoice(coder, row.name, self.file), options, file).run(iter(source))
        with Reader(target) as written:
            decoders = GopDecoders(written.header.grid)
            gops = (written.gop(number) for number in range(len(written.gops)))
            began = monotonic()
            decoded = sum(len(made) for *_, made in GopPictures(written.header, coder, decoders).run(gops))
            seconds = monotonic() - began
        return Coded(
            **vars(quality),
            pac_ratio=done.bytes / (decoded * FRAME_BYTES),
            encode_fps=decoded / done.seconds,
            decode_fps=decoded / seconds,
        )


def _quality(clip: Frames, latents: NDArray[np.float32], coder: LatentGrids) -> RowQuality:
    pictures = []
    for start in range(0, len(clip), GOP_FRAMES):
        part = latents[start : start + GOP_FRAMES]
        parameters = coder.fit(part)
        pictures.append(coder.decode(coder.quantize(part, parameters), {}, parameters))
    quality = measure(clip, np.concatenate(pictures))
    return RowQuality(
        frames=len(clip),
        psnr=quality.psnr,
        psnr_low=float(np.percentile(quality.frame_psnr, 5)),
        ssim=float(np.mean(quality.ssim)),
    )


def measure_row(row: Row, model: ModelBenchmark, compact: ModelBenchmark | None) -> Result:
    """Measure a row with its trained model, and with the model's compact form if there is one."""
    training: Mapping[str, Any] = model.file.info.training
    network = model.network.network
    values = prod(network.grid(HEIGHT, WIDTH))
    bits = 32 if row.quantizer == "none" else BITS[row.levels]
    batch = training.get("batch", row.network.batch)
    step_frames = batch if network.size else batch * TrainingPlan.crop**2 / (HEIGHT * WIDTH)
    coded = model.code(row)
    comparable = row.levels == FULL_LEVELS and not coded.keys() & DEMOS.keys()  # those have a table of their own
    known = published(row.network.name, row.quantizer) if comparable else None
    return Result(
        row=row.name,
        network=row.network.name,
        quantizer=row.quantizer,
        levels=row.levels,
        values=values,
        ratio=values * bits / 8 / FRAME_BYTES,
        trained_bytes=4 * sum(value.numel() for value in network.state_dict().values()),
        stored_bytes=len(model.file.data),
        compact_bytes=len(compact.file.data) if compact else None,
        steps=training.get("steps", 0),
        epochs=training.get("steps", 0) * step_frames / training["frames"],
        minutes=training.get("seconds", 0) / 60,
        late_gain=training.get("late_gain"),
        frames=training["frames"],
        psnr_float32=training.get("psnr_float32", model.file.info.quality["psnr"]),
        coded=mean(coded),
        compact=mean_quality(compact.qualities(row)) if compact else None,
        clips=coded,
        study=asdict(known) if known else None,
        model=model.file.sha256.hex(),
        data=str(training.get("data", "")),
    )
