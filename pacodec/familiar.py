"""Which installed model was trained on footage like this: one whose colours and screens it shows."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from pacodec import models
from pacodec.coders import model_palette
from pacodec.errors import CorruptFileError, LimitError, UnsupportedError
from pacodec.media import Image
from pacodec.metrics import psnr
from pacodec.predictors.learned import PREDICTIVE, LearnedPredictor
from pacodec.transforms.palette import PaletteTransform
from pacodec.weights import ModelFile

LEAST_PSNR = 40.0
"""dB of the sample in a model's colours, for it to be the model's kind of footage."""
MOST_DIFFERING = 0.25
"""Share of pixels in which a picture may differ from the nearest screen that the model knows."""


def familiar(sample: Sequence[Image]) -> ModelFile | None:
    """The model that knows the footage of `sample` (uint8 [H, W, 3] each), the best of several; None if none does."""
    best: tuple[float, ModelFile] | None = None
    for path in models.paths():
        if not _predictive(path):
            continue
        try:
            model = ModelFile.read(path)
            differing = _difference(sample, model)
        except (CorruptFileError, UnsupportedError, LimitError):  # `pacodec models` says which; others may do
            continue
        if differing <= MOST_DIFFERING and (best is None or differing < best[0]):
            best = differing, model
    return best and best[1]


def _predictive(path: Path) -> bool:
    """Whether a file says so of itself in its metadata; autoencoders are large, and not read any further."""
    try:
        with safe_open(path, framework="numpy") as file:
            return (file.metadata() or {}).get("arch") == PREDICTIVE
    except (SafetensorError, OSError):  # `pacodec models` says what is wrong with it
        return False


def _difference(sample: Sequence[Image], model: ModelFile) -> float:
    """Median share of pixels that differ from the model's nearest screen; 1 where size or colours do not fit."""
    screens = LearnedPredictor.from_model(model).screens
    if screens.shape[1:] != sample[0].shape[:2] or not len(screens):
        return 1.0
    palette, pictures = PaletteTransform(model_palette(model)), np.stack(sample)
    codes = palette.encode(pictures)
    if float(psnr(pictures, palette.decode(codes)).mean()) < LEAST_PSNR:
        return 1.0
    return float(np.median([(screens != grid).mean((1, 2)).min() for grid in codes[:, 0]]))
