"""Whether pictures can be made of the codes of a GOP, found out without making them, and without a network.

What a code of a place can do wrong, it does in all places alike. So those that occur are collected, and tried once.
"""

from collections.abc import Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pacodec.autoencoders import AUTOENCODERS
from pacodec.autoencoders.quantizers import QUANTIZERS
from pacodec.common.grids import Grids
from pacodec.container import Gop, Header
from pacodec.errors import CorruptFileError, UnsupportedError
from pacodec.gop.grid_transforms import transform_for
from pacodec.models.files import ModelFile
from pacodec.transforms.base import PICTURE, GridTransform

_PIECE = 1 << 18
"""Places looked at at once."""


class PictureCheck(Protocol):
    """Checks the GOPs of one file."""

    def check(self, gop: Gop, batches: Iterable[Grids]) -> None:
        """Take all codes of a GOP, uint8 [n, C, h, w] at a time, and raise what making pictures of them would raise.

        That is CorruptFileError or LimitError, and whatever the batches raise themselves.
        """


def picture_check(header: Header, model: ModelFile | None) -> PictureCheck:
    """The check for a file; `model` is the one that its header names, None where that is not found.

    Raises UnsupportedError, CorruptFileError or LimitError where no picture at all can be made.
    """
    if header.transform.name in AUTOENCODERS:
        return _LatentCheck(header, model)
    if header.transform.name == PICTURE:
        return _PictureCheck()
    return _ColourCheck(transform_for(header, model))


class _ColourCheck:
    """That each index, or each pair of index and shade, names a colour."""

    def __init__(self, transform: GridTransform) -> None:
        self._transform = transform
        self._channels = transform.spec.channels

    def check(self, gop: Gop, batches: Iterable[Grids]) -> None:
        seen = _Seen()
        for codes in batches:
            for grid in codes:
                seen.add(grid[0], grid[1] if self._channels > 1 else grid[0])
        first, second = seen.pairs()
        made = np.zeros((1, self._channels, 1, len(first)), np.uint8)
        made[0, 1:2, 0], made[0, 0, 0] = second, first
        self._transform.decode(made, gop.transform, gop.quantizer)


class _PictureCheck:
    """That all decode; any of their values is a colour."""

    def check(self, gop: Gop, batches: Iterable[Grids]) -> None:
        for _ in batches:
            pass


class _LatentCheck:
    """That the quantizer has values for all codes; the network gets along with any."""

    def __init__(self, header: Header, model: ModelFile | None) -> None:
        name = header.quantizer.name
        if name not in QUANTIZERS:
            raise UnsupportedError(f"unknown quantizer {name!r}; known are {', '.join(QUANTIZERS)}")
        if header.model is None:
            raise CorruptFileError(f"the transform {header.transform.name} needs a model and the header names none")
        if model is not None and model.info.arch != header.transform.name:
            raise CorruptFileError(f"the model is a {model.info.arch}, the header says {header.transform.name}")
        self._quantizer, self._parameters = QUANTIZERS[name], header.quantizer.params
        parts = self._quantizer.bytes_per_value
        self._channels = -(-header.grid.channels // parts) * parts

    def check(self, gop: Gop, batches: Iterable[Grids]) -> None:
        seen = _Seen()
        for codes in batches:
            seen.add(codes, codes)
        values, _ = seen.pairs()
        made = np.resize(values, (1, self._channels, 1, -(-len(values) // self._channels)))  # each once or more
        self._quantizer.dequantize(made, {**self._parameters, **gop.quantizer})


class _Seen:
    """Which pairs of bytes have occurred."""

    def __init__(self) -> None:
        self._seen = np.zeros((256, 256), np.bool_)

    def add(self, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> None:
        """Take pairs, in two arrays of one shape."""
        first, second = first.reshape(-1), second.reshape(-1)
        for start in range(0, len(first), _PIECE):
            self._seen[first[start : start + _PIECE], second[start : start + _PIECE]] = True

    def pairs(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """All pairs that occurred, as two arrays."""
        first, second = np.nonzero(self._seen)
        return first.astype(np.uint8), second.astype(np.uint8)
