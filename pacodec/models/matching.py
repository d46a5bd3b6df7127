"""Which installed model is of footage like this: one whose recording makes a sample of it smaller."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from pacodec.common.grids import Grids, GridSpec
from pacodec.common.media import Image
from pacodec.common.metrics import Distortion
from pacodec.common.pixels import MAX_COLOURS
from pacodec.engine import SegmentEncoder, State
from pacodec.engine.snapshots import prior_of
from pacodec.errors import CorruptFileError, LimitError, UnsupportedError
from pacodec.models import library
from pacodec.models.files import ModelFile
from pacodec.models.recording import RECORDING, model_palette, model_recording
from pacodec.transforms.palette import PaletteTransform, learn_palette

LEAST_PSNR = 40.0
"""dB of the sample in a model's colours, for it to be the model's kind of footage."""
MOST_NEW = 0.05
"""Share of the sample's pixels that may have colours which the model lacks."""
LEAST_GAIN = 0.1
"""Share of the sample's bytes that a model must save."""


def matching_model(sample: Sequence[Image]) -> ModelFile | None:
    """The model that makes a sample, uint8 [H, W, 3] each, smallest; None where none is of any use.

    Of the files, only names, sizes and metadata are read until size and colours fit.
    """
    height, width = sample[0].shape[:2]
    best: tuple[int, ModelFile] | None = None
    paths = [path for path in library.paths() if _is_recording_of(path, height, width)]
    few = bool(paths) and len(learn_palette(sample)) < MAX_COLOURS
    for path in paths:
        try:
            model = ModelFile.read(path)
            saved = _saved(sample, model, exactly=few)
        except (CorruptFileError, UnsupportedError, LimitError):  # `pacodec models` says which; others may do
            continue
        if saved > 0 and (best is None or saved > best[0]):
            best = saved, model
    return best and best[1]


def _is_recording_of(path: Path, height: int, width: int) -> bool:
    """Whether a file's metadata say so."""
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            shape = f", {height}, {width}]"
            return metadata.get("arch") == RECORDING and shape in metadata.get("hyperparameters", "")
    except (SafetensorError, OSError):  # `pacodec models` says what is wrong with it
        return False


def _saved(sample: Sequence[Image], model: ModelFile, *, exactly: bool) -> int:
    """Bytes of the sample that the model saves, 0 where its colours do not suit it or it does not save enough."""
    colours = model_palette(model)
    palette = PaletteTransform(colours, room=MAX_COLOURS - len(colours))
    pictures = np.stack(sample)
    codes = palette.encode(pictures)
    if not palette.exact and (exactly or Distortion.of(pictures, palette.decode(codes)).psnr < LEAST_PSNR):
        return 0
    recording = model_recording(model)
    if recording is None or (codes >= len(colours)).mean() > MOST_NEW:
        return 0
    spec = GridSpec(1, codes.shape[2], codes.shape[3], ordinal=False)
    alone = _size(codes, State.fresh(spec))
    with prior_of(recording, spec).borrowed() as state:
        after = _size(codes, state)
    return alone - after if after < (1 - LEAST_GAIN) * alone else 0


def _size(codes: Grids, state: State) -> int:
    """Bytes of code grids coded after what a state knows, which it changes."""
    encoder = SegmentEncoder(state)
    encoder.push(codes)
    return len(encoder.finish())
