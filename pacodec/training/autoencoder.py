"""Training one of the study's autoencoders on recordings."""

import json
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import monotonic

import numpy as np
import torch
from numpy.typing import NDArray

from pacodec.autoencoders.autoencoder import Autoencoder
from pacodec.autoencoders.neural import choose_device, load_autoencoder
from pacodec.autoencoders.registry import build
from pacodec.common.pixels import resize
from pacodec.errors import CorruptFileError, UsageError
from pacodec.limits import GIB
from pacodec.models.files import ModelFile, ModelInfo, dump
from pacodec.training.fit import Frames, fit_in_phases, measure_psnr
from pacodec.training.loop import TrainingPlan
from pacodec.training.request import Request, Trained
from pacodec.training.survey import Part, split
from pacodec.video.reader import VideoReader

DEFAULT_RANKS = {"vanilla": 64, "multilayer": 64, "vae": 256, "pca": 64}
"""Rank of the linear layers unless told otherwise: full matrices of the study's networks take 0.4 to 3.3 GB."""
FRAMES_BYTES = 3 * GIB
"""Memory for training frames; of longer footage every n-th frame is taken."""
VALIDATION_FRAMES = 64
"""Frames that each validation looks at, spread over the validation clips."""

Dump = Callable[[Mapping[str, NDArray[np.float32]], ModelInfo], bytes]
"""Makes a model file of weights."""


@dataclass(frozen=True)
class TrainingFrames:
    """Frames by their role, each uint8 [T, H, W, 3] a recording, and how they were split."""

    train: list[Frames]
    validation: list[Frames]
    test: list[Frames]
    split: str
    every: int


def train_autoencoder(request: Request, arch: str, rank: int | None) -> Trained:
    """One of the study's networks; UsageError where it is of another kind than the request asks for."""
    hyperparameters, device = _hyperparameters(arch, request.size, rank), choose_device(request.device)
    torch.manual_seed(request.seed)  # of the starting weights
    try:
        model = build(arch, hyperparameters)
    except CorruptFileError as error:  # here they come from the caller, not from a file
        raise UsageError(str(error)) from error
    size = model.size or (request.size and request.size[::-1])
    footage = load_footage(request.clips, request.validation, request.test, size)
    request.report(f"{_total(footage.train)} frames to train on; {footage.split}")
    plan = TrainingPlan(
        request.steps or 1,
        arch=arch,
        hyperparameters=json.dumps(hyperparameters, sort_keys=True),
        batch=32 if model.size else 16,
        footage=_checksum(footage),
        seed=request.seed,
    )
    stride = max(1, _total(footage.validation) // VALIDATION_FRAMES)
    steps = fit_in_phases(
        model,
        footage.train,
        [clip[::stride] for clip in footage.validation],
        plan,
        device=device,
        minutes=None if request.steps else request.minutes - (monotonic() - request.began) / 60,
        checkpoint=request.checkpoint,
        report=request.report,
    )
    training = {
        "clips": len(footage.train),
        "frames": _total(footage.train),
        "every": footage.every,
        "steps": steps,
        "split": footage.split,
    }
    data, quality = package(model.cpu(), arch, training, footage.test)
    channels, rows, columns = model.grid(*footage.train[0].shape[1:3])
    return Trained(
        data=data,
        steps=steps,
        psnr=quality["psnr"],
        psnr_low=quality["psnr_low"],
        test_frames=_total(footage.test),
        split=footage.split,
        code_values=channels * rows * columns,
    )


def package(
    model: Autoencoder, arch: str, training: Mapping[str, object], test: list[Frames], write: Dump = dump
) -> tuple[bytes, dict[str, float]]:
    """The bytes of a model file as `write` makes it, and the quality that its weights reach on the test frames."""
    model.fold()
    weights = {name: value.detach().float().cpu().numpy() for name, value in model.state_dict().items()}
    info = ModelInfo(arch, model.hyperparameters, training)
    stored = load_autoencoder(ModelFile.parse(write(weights, info), arch, "the new model"))
    values = measure_psnr(stored, test, torch.device("cpu"))
    quality = {
        "psnr": round(float(values.mean()), 3),
        "psnr_low": round(float(np.percentile(values, 5)), 3),
        "frames": len(values),
    }
    return write(weights, replace(info, quality=quality)), quality


def load_footage(
    clips: Sequence[str], validation: Sequence[str], test: Sequence[str], size: tuple[int, int] | None
) -> TrainingFrames:
    """Read and split recordings; `size` is (height, width), None for that of the first clip."""
    frames, every = _read_all([*clips, *validation, *test], size)
    parts = split([len(clip) for clip in frames], len(validation), len(test))

    def cut(role: list[Part]) -> list[Frames]:
        return [frames[part.clip][part.start : part.stop] for part in role]

    return TrainingFrames(cut(parts.train), cut(parts.validation), cut(parts.test), parts.words, every)


def _read_all(clips: Sequence[str], size: tuple[int, int] | None) -> tuple[list[Frames], int]:
    """All clips at one size, frames equal to their predecessor left out, thinned to what memory allows."""
    hint = 0
    for clip in clips:
        with VideoReader(clip) as reader:
            size = size or (reader.format.height, reader.format.width)
            hint += reader.frames_hint or 0
    height, width = size or (0, 0)
    every = max(1, math.ceil(hint * height * width * 3 / FRAMES_BYTES))
    return [_read(clip, height, width, every) for clip in clips], every


def _read(clip: str, height: int, width: int, every: int) -> Frames:
    kept: list[Frames] = []
    last: Frames | None = None
    with VideoReader(clip) as reader:
        for number, frame in enumerate(reader.frames()):
            if number % every == 0 and (last is None or not np.array_equal(last, frame.rgb)):
                last = frame.rgb
                kept.append(resize(frame.rgb[None], height, width)[0])
    return np.stack(kept)


def _hyperparameters(arch: str, size: tuple[int, int] | None, rank: int | None) -> dict[str, int]:
    family = arch.split("-")[0]
    if family not in DEFAULT_RANKS:
        if rank is not None:
            raise UsageError(f"{arch} has no linear layers, so no rank")
        return {}
    chosen = {"rank": DEFAULT_RANKS[family] if rank is None else rank}
    return chosen | ({"width": size[0], "height": size[1]} if size else {})


def _checksum(footage: TrainingFrames) -> int:
    value = 0
    for clip in (*footage.train, *footage.validation):
        value = zlib.crc32(np.ascontiguousarray(clip).data, zlib.crc32(repr(clip.shape).encode(), value))
    return value


def _total(clips: list[Frames]) -> int:
    return sum(len(clip) for clip in clips)
