"""Fitting the post-filter: crops of pictures of palette colours in, the pictures that were meant out.

It is trained in two phases: in floats, then rounded as the integers that it will be.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pacodec.autoencoders.neural import choose_device
from pacodec.common.media import Image
from pacodec.common.metrics import psnr
from pacodec.training.filter_network import FilterNetwork
from pacodec.training.footage import CodedFootage, Pairs
from pacodec.training.loop import VALIDATIONS, TrainingPlan, TrainingTask, run, saved_plan, validation_interval
from pacodec.training.request import Report, Request
from pacodec.transforms.postfilter import FOLD, MIDDLE, POSTFILTER, PostFilter, Shape, of_even_sides

_BLOCK = 8
"""Pixels of a side of the squares whose errors are compared."""


class Crops:
    """Square pieces of pairs for training, taken where errors are; a pure function of (seed, step)."""

    def __init__(self, pairs: Pairs, palette: NDArray[np.uint8], side: int, seed: int) -> None:
        self._pairs, self._palette, self._seed = pairs, palette, seed
        smallest = min(min(codes.shape) for codes in pairs.codes)
        self._side = max(FOLD, min(side, smallest) // FOLD * FOLD)

    def batch(self, step: int, crops: int) -> tuple[Tensor, Tensor]:
        """Pictures of the palette's colours, and what was meant, both as `as_input` gives them; half of them mirrored.

        Of a picture, a square is as likely as its share of the squared error, with a little for all.
        """
        rng = np.random.default_rng((self._seed, step))
        made = np.empty((2, crops, self._side, self._side, 3), np.uint8)
        for number in range(crops):
            which = int(rng.integers(len(self._pairs)))
            meant = self._pairs.pictures[which]
            shown = self._palette[self._pairs.codes[which]]
            square = self._square(shown, meant, rng)
            mirror = slice(None, None, -1 if rng.random() < 0.5 else 1)
            made[0, number], made[1, number] = shown[square][:, mirror], meant[square][:, mirror]
        return as_input(made[0]), as_input(made[1])

    def _square(self, shown: Image, meant: Image, rng: np.random.Generator) -> tuple[slice, slice]:
        height, width = meant.shape[0] // _BLOCK, meant.shape[1] // _BLOCK
        if not height or not width:
            return slice(self._side), slice(self._side)
        inside = np.s_[: height * _BLOCK, : width * _BLOCK]
        errors = np.square(shown[inside].astype(np.float32) - meant[inside])
        shares = errors.reshape(height, _BLOCK, width, _BLOCK * 3).sum((1, 3), dtype=np.float64).ravel()
        shares += shares.mean() + 1
        row, column = divmod(int(rng.choice(len(shares), p=shares / shares.sum())), width)
        top, left = (
            int(np.clip(at * _BLOCK + _BLOCK // 2 - rng.integers(self._side), 0, size - self._side)) // FOLD * FOLD
            for at, size in zip((row, column), meant.shape[:2], strict=True)
        )
        return slice(top, top + self._side), slice(left, left + self._side)


def as_input(pictures: NDArray[np.uint8]) -> Tensor:
    """uint8 [n, H, W, 3] as the network takes it: float32 [n, 3, H, W] of (level - 128) / 128, channels last."""
    return (torch.from_numpy(pictures).permute(0, 3, 1, 2).float() - MIDDLE) / MIDDLE


FLOATS, ROUNDED = 0, 1
"""Phases of the training."""
ROUNDED_STEPS = 1 / 3
"""Steps of the second phase for each of the first."""
TIMED_STEPS = 3
TIMED_SECONDS = 2.0


class RoundedTask(TrainingTask, Protocol):
    """A network that can round as its integers will."""

    def calibrate(self) -> None:
        """Choose its scales; from here on it rounds."""


def fit_rounded(
    task: RoundedTask,
    plan: TrainingPlan,
    rates: Mapping[int, float],
    checkpoint: Path,
    report: Report,
    what: str,
) -> int:
    """Train through both phases, of which the plan has the steps of the first, `rates` the learning rates; all steps.

    What `checkpoint` holds is gone on with.
    """
    saved = saved_plan(checkpoint) if checkpoint.exists() else None
    plans = [plan, replace(plan, phase=ROUNDED, steps=math.ceil(plan.steps * ROUNDED_STEPS))]
    report(f"{'resuming' if saved else 'training'} {what} for {plans[0].steps} + {plans[1].steps} steps")
    for each in plans:
        if saved and saved.phase > each.phase:
            continue
        if each.phase == ROUNDED:
            task.calibrate()
        rate = rates[each.phase]
        optimizer = torch.optim.Adam(task.model.parameters(), rate, betas=(0.9, 0.99), fused=True)
        each = replace(each, learning_rate=rate, validate_every=validation_interval(each.steps))
        run(task, optimizer, each, checkpoint=checkpoint, report=report)
    return sum(each.steps for each in plans)


def first_steps(task: TrainingTask, checkpoint: Path, steps: int | None, seconds: float) -> int:
    """Steps of the first phase: of the checkpoint's run, or so that both take `steps`, or `seconds` about."""
    if steps is not None:
        return max(1, round(steps / (1 + ROUNDED_STEPS)))
    if checkpoint.exists():
        saved = saved_plan(checkpoint)
        return saved.steps if saved.phase == FLOATS else round(saved.steps / ROUNDED_STEPS)
    began = monotonic()
    task.score()
    judging = (monotonic() - began) * 2 * VALIDATIONS
    left = seconds - judging
    return max(TIMED_STEPS, int(left / _step_seconds(task) / (1 + ROUNDED_STEPS)))


def _step_seconds(task: TrainingTask) -> float:
    """How long a step takes; the weights stay as they are."""
    count, began = 0, 0.0
    task.model.train()
    while count <= TIMED_STEPS or monotonic() - began < TIMED_SECONDS:
        if count == 1:  # the first one pays for what is set up once
            began = monotonic()
        task.loss(count).backward()  # type: ignore[no-untyped-call]
        task.model.zero_grad(set_to_none=True)
        count += 1
    return (monotonic() - began) / (count - 1)


SHAPE = Shape(width=48, blocks=2)
CROPS, SIDE = 12, 64
"""Of a batch."""
RATES = {FLOATS: 1.5e-3, ROUNDED: 3e-4}
"""Learning rate of each phase, at its top."""
MIN_GAIN = 0.005
"""dB that count as a gain."""
CALIBRATION_CROPS = 64


class _Task:
    """A post-filter that learns to correct; its score is the PSNR of the validation pictures in dB."""

    unit, higher_is_better = "dB", True

    def __init__(
        self, model: FilterNetwork, crops: Crops, judged: Pairs, palette: NDArray[np.uint8], device: torch.device
    ) -> None:
        self.model, self.crops, self.judged, self.palette, self.device = model, crops, judged, palette, device

    def loss(self, step: int) -> Tensor:
        shown, meant = (part.to(self.device) for part in self.crops.batch(step, CROPS))
        return functional.mse_loss(self.model(shown), meant)

    @torch.no_grad()
    def score(self) -> float:
        self.model.eval()
        values = []
        for picture, codes in zip(self.judged.pictures, self.judged.codes, strict=True):
            height, width = codes.shape
            even = of_even_sides(self.palette[codes][None])
            made = self.model(as_input(even).to(self.device)) * MIDDLE + MIDDLE
            shown = made.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
            values.append(psnr(picture[None], shown[:, :height, :width]))
        return float(np.mean(values))

    def calibrate(self) -> None:
        self.model.calibrate(self.crops.batch(0, CALIBRATION_CROPS)[0].to(self.device))


def fit_filter(request: Request, footage: CodedFootage) -> FilterNetwork:
    """A trained network that rounds, on the CPU; it takes about the request's minutes, or its steps."""
    torch.manual_seed(request.seed)
    device = choose_device(request.device)
    network = FilterNetwork(SHAPE).to(device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    crops = Crops(footage.pairs, footage.palette, SIDE, request.seed)
    task = _Task(network, crops, footage.judged, footage.palette, device)
    steps = first_steps(task, request.checkpoint, request.steps, 60 * request.minutes)
    plan = TrainingPlan(
        steps,
        arch=POSTFILTER,
        hyperparameters=json.dumps(vars(SHAPE), sort_keys=True),
        batch=CROPS,
        crop=SIDE,
        footage=footage.checksum,
        min_gain=MIN_GAIN,
        seed=request.seed,
    )
    fit_rounded(task, plan, RATES, request.checkpoint, request.report, "the post-filter")
    return network.cpu()


def filtered_psnr(postfilter: PostFilter, footage: CodedFootage) -> list[float]:
    """dB of each test clip through the post-filter as decoders have it."""
    values: dict[int, list[float]] = {}
    for picture, codes, clip in zip(footage.held.pictures, footage.held.codes, footage.held.clips, strict=True):
        shown = postfilter.filter(footage.palette[codes][None])
        values.setdefault(clip, []).append(float(psnr(picture[None], shown)[0]))
    return [float(np.mean(of_clip)) for of_clip in values.values()]
