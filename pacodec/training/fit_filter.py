"""Fitting the post-filter: pictures of steady codes in, the pictures that were meant out."""

import json

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pacodec.autoencoders.neural import choose_device
from pacodec.common.metrics import psnr
from pacodec.training.crops import Crops, as_input
from pacodec.training.filter_network import FilterNetwork
from pacodec.training.footage import CodedFootage
from pacodec.training.loop import TrainingPlan
from pacodec.training.pairs import Pairs
from pacodec.training.quantization_aware import FLOATS, ROUNDED, first_steps, fit_rounded
from pacodec.training.request import Request
from pacodec.transforms.postfilter import MIDDLE, POSTFILTER, PostFilter, Shape, of_even_sides

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
