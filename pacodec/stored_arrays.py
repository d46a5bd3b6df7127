"""The arrays that a `Writer` was given, read back from its file: pictures [H, W, 3], or others."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacodec.common.files import naming
from pacodec.common.layout import ArrayLayout
from pacodec.decoder import Decoder
from pacodec.errors import CorruptFileError


def read_arrays(
    path: str | Path, start: int = 0, stop: int | None = None, *, model: str | None = None, jobs: int = 1
) -> Iterator[NDArray[np.uint8]]:
    """The frames `start` to `stop` (as in a slice) of a .pac file, uint8, in the shape in which `Writer` took them.

    Of a file that no writer made, the RGB pictures [H, W, 3]. Raises what `pacodec.open` raises.
    """
    with naming(path), Decoder(path, model=model, jobs=jobs) as video:
        layout = layout_of(video)
        for pictures in video.batches(start, stop):
            yield from layout.to_arrays(pictures)


def arrays_at(video: Decoder, frames: range) -> NDArray[np.uint8]:
    """Some frames of a file in the shape in which they were stored, uint8 [n, ...]."""
    return layout_of(video).to_arrays(video.get_frames_at(frames).data)


def layout_of(video: Decoder) -> ArrayLayout:
    """What the pictures of a file stand for; CorruptFileError where that does not make such pictures."""
    metadata = video.metadata
    pictures_shape = metadata.height, metadata.width, 3
    layout = ArrayLayout(pictures_shape if metadata.array is None else metadata.array)
    if (layout.height, layout.width) != (metadata.height, metadata.width):
        raise CorruptFileError(f"arrays of shape {layout.shape} do not make such pictures")
    return layout
