"""Fitting the learned predictor's network: first in floats, then rounded as the integers it will be."""

import json
import math
import zlib
from dataclasses import replace
from time import monotonic

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pacodec.learning.batches import Probe, Sampler, probe
from pacodec.learning.float_network import PredictorNetwork
from pacodec.learning.footage import CodedFootage
from pacodec.learning.loop import VALIDATIONS, Plan, prefers_bfloat16, run, saved_plan, validation_interval
from pacodec.learning.request import Request
from pacodec.predictors.learned import PREDICTIVE
from pacodec.predictors.network import Geometry

FLOATS, ROUNDED = 0, 1
"""Phases of the training."""
RATES = {FLOATS: 2.5e-3, ROUNDED: 4e-4}
"""Learning rate of each phase, at its top."""
ROUNDED_STEPS = 1 / 3
"""Steps of the second phase for each of the first."""
MIN_GAIN = 0.1
"""Bits a frame that count as a gain."""
VALIDATION_FRAMES, VALIDATION_PIXELS = 64, 60_000
TIMED_STEPS = 3
TIMED_SECONDS = 2.0


class _Task:
    """A network that learns to foresee codes; its score is the bits a frame of the validation frames."""

    unit, higher_is_better = "bits a frame", False

    def __init__(self, model: PredictorNetwork, sampler: Sampler, validation: Probe, device: torch.device) -> None:
        self.model, self.sampler, self.validation, self.device = model, sampler, validation, device

    def loss(self, step: int) -> Tensor:
        batch = self.sampler.batch(step).to(self.device)
        gate, codes = self.model(batch)
        bits: Tensor = gate + codes
        return bits / max(1.0, float(batch.weights.sum()))

    def score(self) -> float:
        return bits_per_frame(self.model, self.validation, self.device)


@torch.no_grad()
def bits_per_frame(network: PredictorNetwork, frames: Probe, device: torch.device) -> float:
    """Ideal bits that the attended pixels of a frame take."""
    network.eval()
    total = sum(float(sum(network(batch.to(device)))) for batch in frames.batches)
    return total * frames.scale / frames.frames


def fit_predictor(
    request: Request, footage: CodedFootage, screens: NDArray[np.uint8], geometry: Geometry
) -> tuple[PredictorNetwork, int]:
    """A trained network that rounds, and the steps it took; both phases fit into the request's time or steps."""
    device = request.device
    torch.manual_seed(request.seed)
    network = PredictorNetwork(geometry, torch.from_numpy(footage.palette)).to(device)
    if prefers_bfloat16(device):
        network.product_type = torch.bfloat16
    looked_at = probe(footage.validation, geometry, VALIDATION_FRAMES, VALIDATION_PIXELS)
    task = _Task(network, Sampler(footage.train, list(screens), geometry, request.seed), looked_at, device)
    saved = saved_plan(request.checkpoint) if request.checkpoint.exists() else None
    steps = _first_steps(request, saved, task)
    plan = Plan(
        steps,
        arch=PREDICTIVE,
        hyperparameters=json.dumps(vars(geometry), sort_keys=True),
        footage=checksum(footage),
        min_gain=MIN_GAIN,
        seed=request.seed,
    )
    plans = [plan, replace(plan, phase=ROUNDED, steps=math.ceil(steps * ROUNDED_STEPS))]
    request.report(
        f"{'resuming' if saved else 'training'} for {plans[0].steps} + {plans[1].steps} steps on {device.type}"
    )
    for each in plans:
        if saved and saved.phase > each.phase:
            continue
        if each.phase == ROUNDED:
            network.calibrate(task.sampler.batch(0).to(device))
        rate = RATES[each.phase]
        optimizer = torch.optim.Adam(network.parameters(), rate, betas=(0.9, 0.99), fused=True)
        each = replace(each, learning_rate=rate, validate_every=validation_interval(each.steps))
        run(task, optimizer, each, checkpoint=request.checkpoint, report=request.report)
    return network, sum(each.steps for each in plans)


def checksum(footage: CodedFootage) -> int:
    """Of the palette and all grids that decide the result."""
    value = zlib.crc32(footage.palette.tobytes())
    for clip in (*footage.train, *footage.validation):
        value = zlib.crc32(clip.checksum.to_bytes(4, "little"), value)
    return value


def _first_steps(request: Request, saved: Plan | None, task: _Task) -> int:
    """Steps of the first phase."""
    if request.steps is not None:
        return max(1, round(request.steps / (1 + ROUNDED_STEPS)))
    if saved is not None:
        return saved.steps if saved.phase == FLOATS else round(saved.steps / ROUNDED_STEPS)
    began = monotonic()
    task.score()
    judging = (monotonic() - began) * 2 * VALIDATIONS
    left = request.minutes * 60 - (monotonic() - request.began) - judging
    return max(TIMED_STEPS, int(left / _step_seconds(task) / (1 + ROUNDED_STEPS)))


def _step_seconds(task: _Task) -> float:
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
