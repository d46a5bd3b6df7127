"""The training loop of an autoencoder: batches, schedule, checkpoints, early stop. Knows frames, not files."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from pacodec.errors import CorruptFileError, UsageError
from pacodec.transforms.autoencoder import Autoencoder

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
SETTLED = 0.5
"""Share of the steps after which normalisation keeps its statistics and crops become whole frames: those of crops are
not those of frames, and a network that has found its features gains by seeing what it will be used on (1.3 dB after 200
steps, conv5)."""
WARM_UP = 0.03
"""Share of the steps in which the learning rate rises."""


@dataclass(frozen=True)
class Plan:
    """What decides the result of a training run."""

    steps: int
    arch: str = ""
    hyperparameters: str = "{}"
    footage: int = 0
    """Checksum of the frames."""
    batch: int = 16
    crop: int = 96
    """Pixels of a side of the square crops that networks of any size train on; fixed-size ones see whole frames."""
    learning_rate: float = 1e-3
    validate_every: int = 250
    patience: int = 8
    """Validations without a gain of `MIN_GAIN` dB after which training stops."""
    seed: int = 0

    def settled(self, step: int) -> bool:
        """Whether the step is in the second half of the run."""
        return step >= self.steps * SETTLED


MIN_GAIN = 0.01


@dataclass(frozen=True)
class Progress:
    """One line of the progress report."""

    step: int
    steps: int
    loss: float
    psnr: float
    """Validation PSNR in dB, with 8-bit latents."""
    seconds: float
    seconds_left: float


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
            codes = torch.round(model.encode(images) * 255)
            decoded = model.decode(codes / 255)[..., : images.shape[2], : images.shape[3]]
            error = (torch.round(decoded.float().clamp(0, 1) * 255) / 255 - images).square().mean((1, 2, 3))
            values += (-10 * torch.log10(error.clamp_min(1e-10))).tolist()
    return np.array(values)


class CropSampler:
    """Batches of training images; a pure function of (seed, step), so a resumed run sees what an unbroken one would.

    Half of the crops are centred where something moves: most of a recording is static, and networks trained on it
    evenly learn the background and little else.
    """

    def __init__(self, clips: list[Frames], plan: Plan, size: tuple[int, int] | None) -> None:
        self.clips, self.plan, self.fixed = clips, plan, size is not None
        self.lengths = np.array([len(clip) for clip in clips])
        self.moving = [] if self.fixed else [np.argwhere(_motion(clip)) for clip in clips]

    def batch(self, step: int) -> Frames:
        """uint8 [n, h, w, 3]; n is `batch`, or fewer for larger crops so that a step costs the same."""
        rng = np.random.default_rng((self.plan.seed, step))
        crop = WHOLE_SIDE if self.plan.settled(step) else self.plan.crop
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


def _motion(clip: Frames, threshold: int = 24) -> NDArray[np.bool_]:
    """Which cells of each frame differ from the frame before, bool [T, H / 16, W / 16]."""
    t, height, width, _ = clip.shape
    rows, columns = max(height // MOTION_CELL, 1), max(width // MOTION_CELL, 1)
    moves = np.zeros((t, rows, columns), np.bool_)
    for index in range(1, t):
        change = np.abs(clip[index, ..., 1].astype(np.int16) - clip[index - 1, ..., 1]) > threshold
        cells = change[: rows * (height // rows), : columns * (width // columns)]
        moves[index] = cells.reshape(rows, height // rows, columns, width // columns).any((1, 3))
    return moves


def learning_rate_at(step: int, plan: Plan) -> float:
    """A linear rise, then half a cosine down to 1% (Loshchilov, Hutter 2017, SGDR, equation 5)."""
    rise = max(1, int(plan.steps * WARM_UP))
    if step < rise:
        return plan.learning_rate * (step + 1) / rise
    done = (step - rise) / max(1, plan.steps - rise)
    return plan.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def fit(
    model: Autoencoder,
    train: list[Frames],
    validation: list[Frames],
    plan: Plan,
    *,
    device: torch.device,
    checkpoint: Path | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
) -> Autoencoder:
    """Train `model` in place and return it with the weights that did best on the validation frames.

    With `checkpoint`, its state is kept in that file at every validation and a run that finds it there goes on from it;
    the file is bound to the plan: UsageError says when it belongs to another, CorruptFileError when it is broken.
    """
    model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    sampler = CropSampler(train, plan, model.size)
    state = _State(model, torch.optim.Adam(model.parameters(), plan.learning_rate, fused=True))
    if checkpoint is not None and checkpoint.exists():
        state.load(checkpoint, plan)
    began, first = time.monotonic() - state.seconds, state.step
    fast = _prefers_bfloat16(device)
    loss_sum, count = 0.0, 0
    for step in range(first, plan.steps):
        if state.waited >= plan.patience:
            break
        images = to_images(sampler.batch(step), device)
        model.train()
        if plan.settled(step):
            freeze_normalisation(model)
        torch.manual_seed(plan.seed * 1_000_003 + step)  # the noise, too, is a function of the step
        for group in state.optimizer.param_groups:
            group["lr"] = learning_rate_at(step, plan)
        with torch.autocast(device.type, torch.bfloat16, enabled=fast):
            loss = model.loss(images)
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        state.optimizer.step()
        loss_sum, count = loss_sum + float(loss.detach()), count + 1
        if (step + 1) % plan.validate_every == 0 or step + 1 == plan.steps:
            psnr = float(measure_psnr(model, validation, device).mean())
            state.step, state.seconds = step + 1, time.monotonic() - began
            state.judge(psnr)
            if checkpoint is not None:  # before the report, so that an interruption there loses nothing
                state.save(checkpoint, plan)
            left = state.seconds / state.step * (plan.steps - state.step)
            report(Progress(step + 1, plan.steps, loss_sum / count, psnr, state.seconds, left))
            loss_sum, count = 0.0, 0
    model.load_state_dict(state.best)
    return model.eval()


def freeze_normalisation(model: nn.Module) -> None:
    """Make batch normalisation use its running statistics while the rest of the network trains."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def _prefers_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    # Emulated bfloat16 is slower than float32; older releases of torch do not tell.
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", bool)())


class _State:
    """Everything a run needs to go on: weights, optimizer, the best weights so far."""

    def __init__(self, model: Autoencoder, optimizer: torch.optim.Adam) -> None:
        self.model, self.optimizer = model, optimizer
        self.step, self.seconds, self.best_psnr, self.waited = 0, 0.0, -math.inf, 0
        self.best = {name: value.detach().clone() for name, value in model.state_dict().items()}

    def judge(self, psnr: float) -> None:
        """Keep the weights if they are the best, and count the validations since the last gain."""
        gained = psnr > self.best_psnr + MIN_GAIN
        if psnr > self.best_psnr:
            self.best_psnr = psnr
            self.best = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        self.waited = 0 if gained else self.waited + 1

    def save(self, path: Path, plan: Plan) -> None:
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"adam.{index}.{name}": value for name, value in moments.items()}
        progress = {
            "step": self.step,
            "seconds": self.seconds,
            "best_psnr": self.best_psnr,
            "waited": self.waited,
            "plan": asdict(plan),
        }
        part = path.with_name(path.name + ".part")
        contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        save_file(contiguous, part, {"progress": json.dumps(progress)})
        part.replace(path)

    def load(self, path: Path, plan: Plan) -> None:
        try:
            with safe_open(path, "pt") as file:
                progress = json.loads(file.metadata()["progress"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            if Plan(**progress["plan"]) != plan:
                raise UsageError(
                    f"{path}: this checkpoint is of a run with other options or clips; repeat those, or remove it"
                )
            self.model.load_state_dict(_under("model.", tensors))
            self.best = {name: value.clone() for name, value in _under("best.", tensors).items()}
            optimizer = self.optimizer.state_dict()
            moments: dict[int, dict[str, Tensor]] = {}
            parameters = list(self.model.parameters())
            for key, value in _under("adam.", tensors).items():
                index, name = key.split(".")
                moments.setdefault(int(index), {})[name] = (
                    value if value.ndim == 0 else _laid_out_as(parameters[int(index)], value)
                )
            self.optimizer.load_state_dict({"state": moments, "param_groups": optimizer["param_groups"]})
            self.step, self.seconds = int(progress["step"]), float(progress["seconds"])
            self.best_psnr, self.waited = float(progress["best_psnr"]), int(progress["waited"])
        except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
            raise CorruptFileError(f"{path}: not a checkpoint of this model ({error})") from error


def _laid_out_as(parameter: Tensor, value: Tensor) -> Tensor:
    """The same values in the parameter's memory format, or sums over them would run in another order than before."""
    return torch.empty_like(parameter, requires_grad=False).copy_(value)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def saved_plan(path: Path) -> Plan:
    """The plan of the run that a checkpoint belongs to; CorruptFileError where it is not one."""
    try:
        with safe_open(path, "pt") as file:
            return Plan(**json.loads(file.metadata()["progress"])["plan"])
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise CorruptFileError(f"{path}: not a checkpoint ({error})") from error
