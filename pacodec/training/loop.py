"""The training loop: schedule, checkpoints, early stop. Knows a network, its loss and its score, not what they mean."""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from pacodec.errors import CorruptFileError, UsageError
from pacodec.training.request import TrainingProgress

WARM_UP = 0.03
"""Share of the steps in which the learning rate rises."""
VALIDATIONS = 12
"""Validations of a short run."""


@dataclass(frozen=True)
class TrainingPlan:
    """What decides the result of a training run."""

    steps: int
    arch: str = ""
    hyperparameters: str = "{}"
    footage: int = 0
    """Checksum of what it is trained on."""
    batch: int = 16
    crop: int = 96
    """Pixels of a side of the square crops that networks of any size train on; fixed-size ones see whole frames."""
    learning_rate: float = 1e-3
    validate_every: int = 250
    patience: int = 8
    """Validations without a gain of `min_gain` after which training stops."""
    min_gain: float = 0.01
    """In the unit of the score."""
    seed: int = 0
    phase: int = 0
    """Which of an architecture's runs, where it is trained in several."""


def validation_interval(steps: int) -> int:
    """Steps between validations: `VALIDATIONS` of a short run, one every 250 steps of a long one."""
    return max(1, min(250, math.ceil(steps / VALIDATIONS)))


class TrainingTask(Protocol):
    """A network and what it is to learn."""

    unit: str
    higher_is_better: bool

    @property
    def model(self) -> nn.Module:
        """The network that is trained, in place."""

    def loss(self, step: int) -> Tensor:
        """The loss of a step's batch: a function of the plan and the step alone, so that a run can be resumed."""

    def score(self) -> float:
        """What the network reaches on the validation frames."""


def learning_rate_at(step: int, plan: TrainingPlan) -> float:
    """A linear rise, then half a cosine down to 1% (Loshchilov, Hutter 2017, SGDR, equation 5)."""
    rise = max(1, int(plan.steps * WARM_UP))
    if step < rise:
        return plan.learning_rate * (step + 1) / rise
    done = (step - rise) / max(1, plan.steps - rise)
    return plan.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def run(
    task: TrainingTask,
    optimizer: torch.optim.Adam,
    plan: TrainingPlan,
    *,
    checkpoint: Path | None = None,
    report: Callable[[TrainingProgress], None] = lambda progress: None,
    start_counts: bool = False,
) -> None:
    """Train the task's network in place; it ends with the weights that did best on the validation frames.

    Those that it starts with are among them if `start_counts`, which takes a validation more.

    With `checkpoint`, its state is kept in that file at every validation and a run that finds it there goes on from it;
    the file is bound to the plan: UsageError says when it belongs to another, CorruptFileError when it is broken.
    One of an earlier phase is what this run begins after, and is replaced.
    """
    state = _State(task.model, optimizer)
    if checkpoint is not None and checkpoint.exists() and saved_plan(checkpoint).phase >= plan.phase:
        state.load(checkpoint, plan)
    elif start_counts:
        state.judge(task.score() if task.higher_is_better else -task.score(), plan.min_gain)
    began, first = time.monotonic() - state.seconds, state.step
    loss_sum, count = 0.0, 0
    for step in range(first, plan.steps):
        if state.waited >= plan.patience:
            break
        torch.manual_seed(plan.seed * 1_000_003 + step)  # noise, too, is a function of the step
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(step, plan)
        task.model.train()
        loss = task.loss(step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(task.model.parameters(), 1.0)
        optimizer.step()
        loss_sum, count = loss_sum + float(loss.detach()), count + 1
        if (step + 1) % plan.validate_every == 0 or step + 1 == plan.steps:
            score = task.score()
            state.step, state.seconds = step + 1, time.monotonic() - began
            state.judge(score if task.higher_is_better else -score, plan.min_gain)
            if checkpoint is not None:  # before the report, so that an interruption there loses nothing
                state.save(checkpoint, plan)
            left = state.seconds / state.step * (plan.steps - state.step)
            report(TrainingProgress(step + 1, plan.steps, loss_sum / count, score, task.unit, state.seconds, left))
            loss_sum, count = 0.0, 0
    task.model.load_state_dict(state.best)
    task.model.eval()


def prefers_bfloat16(device: torch.device) -> bool:
    """Whether products of bfloat16 are faster than those of float32; emulated ones are slower."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    # Older releases of torch do not tell.
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", bool)())


class _State:
    """Everything a run needs to go on: weights, optimizer, the best weights so far."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Adam) -> None:
        self.model, self.optimizer = model, optimizer
        self.step, self.seconds, self.best_score, self.waited = 0, 0.0, -math.inf, 0
        self.best = {name: value.detach().clone() for name, value in model.state_dict().items()}

    def judge(self, score: float, min_gain: float) -> None:
        """Keep the weights if they are the best, and count the validations since the last gain."""
        gained = score > self.best_score + min_gain
        if score > self.best_score:
            self.best_score = score
            self.best = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        self.waited = 0 if gained else self.waited + 1

    def save(self, path: Path, plan: TrainingPlan) -> None:
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"adam.{index}.{name}": value for name, value in moments.items()}
        progress = {
            "step": self.step,
            "seconds": self.seconds,
            "best_score": self.best_score,
            "waited": self.waited,
            "plan": asdict(plan),
        }
        _write(path, tensors, progress)

    def load(self, path: Path, plan: TrainingPlan) -> None:
        try:
            progress, tensors = _read(path)
            if TrainingPlan(**progress["plan"]) != plan:
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
            self.best_score, self.waited = float(progress["best_score"]), int(progress["waited"])
        except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
            raise CorruptFileError(f"{path}: not a checkpoint of this model ({error})") from error


def _laid_out_as(parameter: Tensor, value: Tensor) -> Tensor:
    """The same values in the parameter's memory format, or sums over them would run in another order than before."""
    return torch.empty_like(parameter, requires_grad=False).copy_(value)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def shorten(path: Path, seconds: float) -> None:
    """Make the run that a checkpoint belongs to end in about so many seconds, if it would take longer.

    The learning rate then falls by as much in fewer steps. CorruptFileError where the file is not a checkpoint.
    """
    try:
        progress, tensors = _read(path)
        step, plan = int(progress["step"]), TrainingPlan(**progress["plan"])
        steps = step + max(1, int(seconds * step / float(progress["seconds"])))
    except (OSError, KeyError, TypeError, ValueError, ZeroDivisionError, SafetensorError) as error:
        raise CorruptFileError(f"{path}: not a checkpoint ({error})") from error
    if steps < plan.steps:
        progress["plan"] = asdict(replace(plan, steps=steps, validate_every=validation_interval(steps)))
        _write(path, tensors, progress)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Progress and tensors of a checkpoint, or whatever a file that is none makes safetensors or JSON raise."""
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        return json.loads(file.metadata()["progress"]), tensors


def _write(path: Path, tensors: Mapping[str, Tensor], progress: Mapping[str, Any]) -> None:
    part = path.with_name(path.name + ".part")
    contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    save_file(contiguous, part, {"progress": json.dumps(progress)})
    part.replace(path)


def saved_plan(path: Path) -> TrainingPlan:
    """The plan of the run that a checkpoint belongs to; CorruptFileError where it is not one."""
    try:
        with safe_open(path, "pt") as file:
            return TrainingPlan(**json.loads(file.metadata()["progress"])["plan"])
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise CorruptFileError(f"{path}: not a checkpoint ({error})") from error
