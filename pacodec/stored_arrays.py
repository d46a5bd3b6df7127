"""The arrays that a `Writer` was given, read back from its file."""

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
        metadata = video.metadata
        pictures_shape = metadata.height, metadata.width, 3
        layout = ArrayLayout(pictures_shape if metadata.array is None else metadata.array)
        if (layout.height, layout.width) != (metadata.height, metadata.width):
            raise CorruptFileError(f"arrays of shape {layout.shape} do not make such pictures")
        for pictures in video.batches(start, stop):
            yield from layout.to_arrays(pictures)
