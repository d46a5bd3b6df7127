"""A network of integers is trained in two phases: in floats, then rounded as the integers it will be."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Protocol

import torch

from pacodec.training.loop import VALIDATIONS, TrainingPlan, TrainingTask, run, saved_plan, validation_interval
from pacodec.training.request import Report

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
