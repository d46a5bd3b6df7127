"""Chunks of arrays as .pac files in memory: what codecs of array libraries share."""

from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from pacodec import limits
from pacodec.common.layout import ArrayLayout
from pacodec.decoder import Decoder
from pacodec.encoder import encode_frames
from pacodec.errors import CorruptFileError, UsageError
from pacodec.gop.feed import ArrayFrames
from pacodec.options import EncodeOptions
from pacodec.stored_arrays import arrays_at

CHUNK_RATE = 30
"""Frames/s that the file of a chunk has; nobody looks at them."""


def to_bytes(chunk: NDArray[np.uint8], model: str | None = None) -> bytes:
    """A .pac file of the frames uint8 [n, ...] of a chunk, exact; `model` is the name or path of one.

    UsageError for other arrays, LimitError for frames that are too large, ModelError where there is no such model.
    """
    if chunk.dtype != np.uint8 or chunk.ndim < 2 or not chunk.size:
        raise UsageError(f"a chunk is uint8 [frames, ...] with values, not {chunk.dtype} {list(chunk.shape)}")
    options = EncodeOptions(fps=float(CHUNK_RATE), lossless=True, model=model)
    with TemporaryDirectory() as folder:
        target = Path(folder, "chunk.pac")
        encode_frames(ArrayFrames(chunk, ArrayLayout(chunk.shape[1:]), Fraction(CHUNK_RATE)), str(target), options)
        return target.read_bytes()


def from_bytes(data: bytes, model: str | None = None) -> NDArray[np.uint8]:
    """The frames uint8 [n, ...] of a chunk.

    Raises what `pacodec.open` raises: CorruptFileError where anything is damaged, LimitError where it is too large.
    """
    with Decoder(data, model=model) as video:
        if video.damage or not len(video):
            raise CorruptFileError(f"the chunk is damaged: {'; '.join(video.damage) or 'it has no frames'}")
        limits.check("bytes of a chunk's pictures", video.metadata.raw_bytes, limits.MAX_CHUNK_BYTES)
        return arrays_at(video, range(len(video)))
