"""Fitting the learned predictor's network: first in floats, then rounded as the integers it will be."""

import json
import zlib
from time import monotonic

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pacodec.learning.batches import Probe, Sampler, probe
from pacodec.learning.float_network import PredictorNetwork
from pacodec.learning.footage import CodedFootage
from pacodec.learning.loop import Plan, prefers_bfloat16
from pacodec.learning.phases import FLOATS, ROUNDED, first_steps, fit_rounded
from pacodec.learning.request import Request
from pacodec.predictors.learned import PREDICTIVE
from pacodec.predictors.network import Geometry

RATES = {FLOATS: 2.5e-3, ROUNDED: 4e-4}
"""Learning rate of each phase, at its top."""
MIN_GAIN = 0.1
"""Bits a frame that count as a gain."""
VALIDATION_FRAMES, VALIDATION_PIXELS = 64, 60_000


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

    def calibrate(self) -> None:
        self.model.calibrate(self.sampler.batch(0).to(self.device))


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
    left = request.minutes * 60 - (monotonic() - request.began)
    plan = Plan(
        first_steps(task, request.checkpoint, request.steps, left),
        arch=PREDICTIVE,
        hyperparameters=json.dumps(vars(geometry), sort_keys=True),
        footage=checksum(footage),
        min_gain=MIN_GAIN,
        seed=request.seed,
    )
    return network, fit_rounded(task, plan, RATES, request.checkpoint, request.report, "the predictor")


def checksum(footage: CodedFootage) -> int:
    """Of the palette and all grids that decide the result."""
    value = zlib.crc32(footage.palette.tobytes())
    for clip in (*footage.train, *footage.validation):
        value = zlib.crc32(clip.checksum.to_bytes(4, "little"), value)
    return value
