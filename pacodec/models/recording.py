"""What a model of the architecture "recording" holds: a palette, reference footage coded by the engine, perhaps more
colours, perhaps a post-filter.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacodec import limits
from pacodec.common.media import GridSpec
from pacodec.common.pixels import MAX_COLOURS
from pacodec.engine.prior import Recording, Segment
from pacodec.errors import CorruptFileError
from pacodec.models.files import ModelFile
from pacodec.transforms.palette import pack_palette
from pacodec.transforms.postfilter import POSTFILTER, PostFilter

RECORDING = "recording"
"""The architecture of models that are reference footage."""
NOISE = "noise"
"""The hyperparameter that says by how many levels pixels of noisy footage move for nothing; 0 of clean footage."""


def model_palette(model: ModelFile) -> NDArray[np.uint8]:
    """The colours of a model, uint8 [K, 3]; CorruptFileError where it has none."""
    palette = model.arrays().get("palette")
    if palette is None or palette.dtype != np.uint8 or palette.ndim != 2 or palette.shape[1] != 3:
        raise CorruptFileError(f"{model.name}: holds no palette")
    if not 1 <= len(palette) <= MAX_COLOURS:
        raise CorruptFileError(f"{model.name}: a palette of {len(palette)} colours, allowed are 1 to {MAX_COLOURS}")
    return palette


def model_colours(model: ModelFile) -> dict[str, bytes]:
    """Parameters that a colour transform takes from a model: its palette, and its shades if it has any.

    Raises CorruptFileError where they are no such thing.
    """
    shades = model.arrays().get("shades")
    if shades is None:
        return {"palette": pack_palette(model_palette(model))}
    return {"palette": pack_palette(model_palette(model)), "shades": _plain_bytes(model, "shades", shades)}


def model_postfilter(model: ModelFile) -> PostFilter | None:
    """A model's post-filter, if it has one; CorruptFileError or LimitError where that is malformed."""
    stored = model.arrays().get(POSTFILTER)
    if stored is None:
        return None
    spec = model_grid(model)
    return PostFilter.from_bytes(_plain_bytes(model, POSTFILTER, stored), (spec.height, spec.width))


def model_recording(model: ModelFile) -> Recording | None:
    """A model's reference footage; None of one that is no recording or holds none, and so is of use for colours alone.

    CorruptFileError or LimitError where it is malformed.
    """
    stored = model.arrays().get("reference") if model.info.arch == RECORDING else None
    if stored is None:
        return None
    data = _plain_bytes(model, "reference", stored)
    limits.check(f"{model.name}: the size of its reference", len(data), limits.MAX_REFERENCE_BYTES)
    segments, at = list[Segment](), 0
    for frames, size in _segment_sizes(model):
        segments.append(Segment(frames, data[at : at + size]))
        at += size
    if at != len(data):
        raise CorruptFileError(f"{model.name}: its segments do not add up to its reference")
    return Recording(model_grid(model), segments)


def model_grid(model: ModelFile) -> GridSpec:
    """The shape of the grids of a model's reference; CorruptFileError or LimitError where it is absurd."""
    grid = model.info.hyperparameters.get("grid")
    if not isinstance(grid, list) or len(grid) != 3 or not all(type(side) is int and side > 0 for side in grid):
        raise CorruptFileError(f"{model.name}: the shape of its grids is {grid!r}")
    channels, height, width = grid
    limits.check(f"{model.name}: the height of its grids", height, limits.MAX_SIDE)
    limits.check(f"{model.name}: the width of its grids", width, limits.MAX_SIDE)
    limits.check(f"{model.name}: the codes of a grid", channels * height * width, limits.MAX_CODES_PER_FRAME)
    return GridSpec(channels, height, width, ordinal=False)


def model_noise(model: ModelFile) -> int:
    """Levels that pixels of the model's footage move by for nothing; 0 of clean footage."""
    noise = model.info.hyperparameters.get(NOISE, 0)
    return noise if type(noise) is int and 0 < noise <= 255 else 0


def _segment_sizes(model: ModelFile) -> list[tuple[int, int]]:
    """Frames and bytes of each segment."""
    segments = model.info.hyperparameters.get("segments")
    if not isinstance(segments, list) or not all(isinstance(segment, dict) for segment in segments):
        raise CorruptFileError(f"{model.name}: its segments are not a list of maps")
    sizes = [(segment.get("frames"), segment.get("bytes")) for segment in segments]
    if not all(type(frames) is int and type(size) is int and frames > 0 and size >= 0 for frames, size in sizes):
        raise CorruptFileError(f"{model.name}: its segments do not have frames and bytes")
    return sizes


def _plain_bytes(model: ModelFile, name: str, values: NDArray[Any]) -> bytes:
    if values.dtype != np.uint8 or values.ndim != 1:
        raise CorruptFileError(f"{model.name}: its {name} are no bytes")
    return values.tobytes()
