"""Training an autoencoder: batches, loss, validation, phases. Knows frames, not files."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import monotonic

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pacodec.autoencoders.autoencoder import Autoencoder
from pacodec.training.loop import TrainingPlan, prefers_bfloat16, run, saved_plan, validation_interval
from pacodec.training.request import TrainingProgress

Frames = NDArray[np.uint8]
"""Frames of one recording, uint8 [T, H, W, 3]."""

MOTION_CELL = 16
"""Pixels of a side of the cells in which motion is measured, to aim crops at it."""
CROP_LATTICE = 32
"""Crops start at multiples of this many pixels, as the cells of the latent grid do in whole frames: on a fixed screen
the background then meets the grid in the few ways that count, not in all of them (conv4: a training loss of 0.025 after
300 steps; crops anywhere left it at 0.043 after 200)."""
WHOLE_SIDE = 256
"""Pixels of a side of the crops of the second half: whole frames where they are not larger."""
INITIAL_FRAMES = 2560
"""Frames that a network's starting weights are chosen from: more than the vae has codes."""
TIMED_STEPS = 6
EARLIER = "earlier steps"
"""Key of a phase's plan under which it has the steps of those before it."""
WHOLE_FRAMES = 0.5
"""Share of the steps after which crops become whole frames: a network that has found its features gains by seeing what
it will be used on."""


def to_images(frames: Frames, device: torch.device) -> Tensor:
    """uint8 [N, H, W, 3] to float [N, 3, H, W] in [0, 1], channels last in memory."""
    return torch.from_numpy(np.ascontiguousarray(frames)).to(device).permute(0, 3, 1, 2).float() / 255


@torch.inference_mode()
def measure_psnr(model: Autoencoder, clips: list[Frames], device: torch.device, batch: int = 16) -> NDArray[np.float64]:
    """PSNR in dB of each frame through 8-bit latents (RGB, data range 255; infinite errors count as 100 dB)."""
    model.eval()
    values: list[float] = []
    for clip in clips:
        for start in range(0, len(clip), batch):
            images = to_images(clip[start : start + batch], device)
            decoded = model.reproduce(images)
            error = (torch.round(decoded.clamp(0, 1) * 255) / 255 - images).square().mean((1, 2, 3))
            values += (-10 * torch.log10(error.clamp_min(1e-10))).tolist()
    return np.array(values)


class CropSampler:
    """Batches of training images; a pure function of (seed, step), so a resumed run sees what an unbroken one would.

    Half of the crops are centred where something moves: most of a recording is static, and networks trained on it
    evenly learn the background and little else.
    """

    def __init__(self, clips: list[Frames], plan: TrainingPlan, size: tuple[int, int] | None) -> None:
        self.clips, self.plan, self.fixed = clips, plan, size is not None
        self.lengths = np.array([len(clip) for clip in clips])
        self.moving = [] if self.fixed else [np.argwhere(motion_cells(clip)) for clip in clips]

    def batch(self, step: int) -> Frames:
        """uint8 [n, h, w, 3]; n is `batch`, or fewer for larger crops so that a step costs the same."""
        rng = np.random.default_rng((self.plan.seed, step))
        crop = WHOLE_SIDE if step >= self.plan.steps * WHOLE_FRAMES else self.plan.crop
        height, width = (min(crop, side) for side in self.clips[0].shape[1:3])
        n = self.plan.batch if self.fixed else max(2, self.plan.batch * self.plan.crop**2 // (height * width))
        return np.stack(
            [self._one(rng, height, width, aimed=index % 2 == 1) for index in range(min(n, self.plan.batch))]
        )

    def _one(self, rng: np.random.Generator, height: int, width: int, *, aimed: bool) -> Frames:
        clip_index = int(rng.choice(len(self.clips), p=self.lengths / self.lengths.sum()))
        clip = self.clips[clip_index]
        t = int(rng.integers(len(clip)))
        if self.fixed:
            whole: Frames = clip[t]
            return whole
        top = int(rng.integers(clip.shape[1] - height + 1))
        left = int(rng.integers(clip.shape[2] - width + 1))
        if aimed and len(self.moving[clip_index]):
            t, row, column = (int(v) for v in rng.choice(self.moving[clip_index]))
            jitter = rng.integers(-MOTION_CELL, MOTION_CELL + 1, 2)
            top = int(np.clip(row * MOTION_CELL - height // 2 + jitter[0], 0, clip.shape[1] - height))
            left = int(np.clip(column * MOTION_CELL - width // 2 + jitter[1], 0, clip.shape[2] - width))
        top, left = top - top % CROP_LATTICE, left - left % CROP_LATTICE
        crop: Frames = clip[t, top : top + height, left : left + width]
        return crop


def motion_cells(clip: Frames, threshold: int = 24) -> NDArray[np.bool_]:
    """Which cells of each frame differ from the frame before, bool [T, H / 16, W / 16]."""
    t, height, width, _ = clip.shape
    rows, columns = max(height // MOTION_CELL, 1), max(width // MOTION_CELL, 1)
    moves = np.zeros((t, rows, columns), np.bool_)
    for index in range(1, t):
        change = np.abs(clip[index, ..., 1].astype(np.int16) - clip[index - 1, ..., 1]) > threshold
        cells = change[: rows * (height // rows), : columns * (width // columns)]
        moves[index] = cells.reshape(rows, height // rows, columns, width // columns).any((1, 3))
    return moves


class _Task:
    """An autoencoder that learns to reproduce pictures; its score is the PSNR through 8-bit latents."""

    unit, higher_is_better = "dB", True

    def __init__(self, model: Autoencoder, sampler: CropSampler, validation: list[Frames], device: torch.device):
        self.model, self.sampler, self.validation, self.device = model, sampler, validation, device
        self.fast = prefers_bfloat16(device)

    def loss(self, step: int) -> Tensor:
        if step >= self.sampler.plan.steps * self.model.settled:
            freeze_normalisation(self.model)
        images = to_images(self.sampler.batch(step), self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.fast):
            return self.model.loss(images)

    def score(self) -> float:
        return float(measure_psnr(self.model, self.validation, self.device).mean())


def fit(
    model: Autoencoder,
    train: list[Frames],
    validation: list[Frames],
    plan: TrainingPlan,
    *,
    device: torch.device,
    checkpoint: Path | None = None,
    report: Callable[[TrainingProgress], None] = lambda progress: None,
) -> Autoencoder:
    """Train `model` in place for one phase and return it with the weights that did best on the validation frames.

    With `checkpoint`, its state is kept in that file at every validation and a run that finds it there goes on from it;
    the file is bound to the plan: UsageError says when it belongs to another, CorruptFileError when it is broken.
    """
    model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    task = _Task(model, CropSampler(train, plan, model.size), validation, device)
    optimizer = torch.optim.Adam(model.parameters(), plan.learning_rate, fused=True)
    run(task, optimizer, plan, checkpoint=checkpoint, report=report, start_counts=True)
    return model


def fit_in_phases(
    model: Autoencoder,
    train: list[Frames],
    validation: list[Frames],
    plan: TrainingPlan,
    *,
    device: torch.device,
    minutes: float | None = None,
    checkpoint: Path,
    report: Callable[[str | TrainingProgress], None] = lambda message: None,
    start: Callable[[Tensor], None] | None = None,
) -> int:
    """Choose the first weights and run each phase of the network's training; the steps of all phases.

    Each phase has a learning rate of its own, and takes its share of `plan.steps`, or of `minutes`, in which what is
    spent on the start counts too.
    `start` takes the place of the network's own `initialise`. `checkpoint`: as `fit`.
    """
    began, cpu = monotonic(), torch.device("cpu")
    sample = np.concatenate([clip[:: max(1, sum(map(len, train)) // INITIAL_FRAMES)] for clip in train])
    saved = saved_plan(checkpoint) if checkpoint.exists() else None
    if saved is None:
        (start or model.initialise)(to_images(sample, cpu))
    earlier, done = (json.loads(saved.hyperparameters).get(EARLIER, 0) if saved else 0), 0.0
    for number, (share, learning_rate) in enumerate(model.phases):
        before, done = done, done + share
        if saved is not None and number < saved.phase < len(model.phases):
            continue  # one beyond them is of another network, which `run` refuses
        resumed = saved is not None and saved.phase == number
        model.phase = number
        if number and not resumed:
            model.to(cpu).begin_phase(to_images(sample, cpu))
        identity = json.dumps({**json.loads(plan.hyperparameters), EARLIER: earlier}, sort_keys=True)
        each = replace(plan, phase=number, learning_rate=learning_rate, hyperparameters=identity)
        if minutes is None:
            later = len(model.phases) - 1 - number  # each of which has a step too
            steps = max(1, min(round(plan.steps * done), plan.steps - later) - earlier)
        elif resumed and saved is not None:
            steps = saved.steps
        else:
            left = (minutes * 60 - (monotonic() - began)) * share / (1 - before)
            steps = _steps_in(left, model, train, validation, each, device)
        each = replace(each, steps=steps, validate_every=validation_interval(steps))
        report(f"{'resuming' if resumed else 'training'} {plan.arch} for {steps} steps on {device.type}")
        fit(model, train, validation, each, device=device, checkpoint=checkpoint, report=report)
        earlier += steps
    return earlier


def _steps_in(
    seconds: float,
    model: Autoencoder,
    train: list[Frames],
    validation: list[Frames],
    plan: TrainingPlan,
    device: torch.device,
) -> int:
    """Steps that fit in the time, by timing a few on a copy of the network that is then thrown away."""
    passed: list[float] = []
    short = replace(plan, steps=2 * TIMED_STEPS, validate_every=TIMED_STEPS)  # the first of them warm up
    fit(
        copy.deepcopy(model),
        train,
        [validation[0][:1]],
        short,
        device=device,
        report=lambda progress: passed.append(progress.seconds),
    )
    warm, done = passed
    return max(TIMED_STEPS, int(seconds * TIMED_STEPS / (done - warm)))


def freeze_normalisation(model: nn.Module) -> None:
    """Make batch normalisation use its running statistics while the rest of the network trains."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
