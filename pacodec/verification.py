"""Proof that a .pac file is whole and that its codes decode on this machine. Needs neither torch nor PyAV."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacodec import container
from pacodec.autoencoders import AUTOENCODERS
from pacodec.autoencoders.quantizers import QUANTIZERS
from pacodec.common.files import naming
from pacodec.common.media import Grids
from pacodec.container import Gop, Header, Reader
from pacodec.errors import CorruptFileError, ModelError, PacodecError, UnsupportedError
from pacodec.gop.coding import decode_gop
from pacodec.gop.grid_transforms import transform_for
from pacodec.gop.priors import decoders_of, model_of
from pacodec.models.files import ModelFile
from pacodec.reports import ProgressCallback
from pacodec.transforms.base import PICTURE, GridTransform


def verify(
    path: str | Path, *, model: str | None = None, progress: ProgressCallback = lambda done, total: None
) -> list[str]:
    """Everything wrong with the file, a line each; empty for a good one.

    `model` is a name or path of the model that a file needs, where it is not found. `progress` is called with frames
    checked and all frames.

    Checks every CRC and the index, decodes all codes against the checksums taken when they were encoded, and sees
    whether pictures can be made of them. The networks of autoencoders do not run for that; and where such a model is
    not found, what it alone could tell stays unchecked.

    Raises FileAccessError, CorruptFileError (not a .pac file at all, or no picture can be made), UnsupportedError,
    ModelError or LimitError.
    """
    with naming(path), Reader(path) as reader:
        return container.verify(reader) or verify_codes(reader, _model(reader, model), progress)


def verify_codes(
    reader: Reader, model: ModelFile | None, progress: ProgressCallback = lambda done, total: None
) -> list[str]:
    """The GOPs whose codes do not decode to what was encoded, or that no pictures can be made of, a line each.

    `model` is the one that the header names, None where that is an autoencoder that is not found. Raises
    UnsupportedError, CorruptFileError or LimitError where no picture at all can be made.
    """
    check, decoders = picture_check(reader.header, model), decoders_of(reader, model)
    problems = list[str]()
    for number, entry in enumerate(reader.gops):
        progress(entry.first_frame, reader.frames)
        try:
            gop = reader.gop(number)
        except PacodecError as error:
            problems.append(str(error))
            continue
        try:
            check(gop, decode_gop(gop, decoders))
        except PacodecError as error:
            problems.append(f"{reader.label(number)}: {error}")
    return problems


def _model(reader: Reader, given: str | None) -> ModelFile | None:
    """The model that the header names; None where it names none, or an autoencoder that is not found nor `given`."""
    try:
        return model_of(reader, given)
    except ModelError:
        if given is not None or not reader.header.grid.ordinal:
            raise
        return None


_PIECE = 1 << 18
"""Places looked at at once."""


PictureCheck = Callable[[Gop, Iterable[Grids]], None]
"""Takes a GOP and all its codes, uint8 [n, C, h, w] at a time, and raises what making pictures of them would raise.

That is CorruptFileError or LimitError, and whatever the batches raise themselves. What a code of a place can do wrong,
it does in all places alike: so those that occur are collected, and tried once, without a network.
"""


def picture_check(header: Header, model: ModelFile | None) -> PictureCheck:
    """The check for a file; `model` is the one that its header names, None where that is not found.

    Raises UnsupportedError, CorruptFileError or LimitError where no picture at all can be made.
    """
    if header.transform.name in AUTOENCODERS:
        name = header.quantizer.name
        if name not in QUANTIZERS:
            raise UnsupportedError(f"unknown quantizer {name!r}; known are {', '.join(QUANTIZERS)}")
        if header.model is None:
            raise CorruptFileError(f"the transform {header.transform.name} needs a model and the header names none")
        if model is not None and model.info.arch != header.transform.name:
            raise CorruptFileError(f"the model is a {model.info.arch}, the header says {header.transform.name}")
        return partial(_check_latents, header)
    if header.transform.name == PICTURE:
        return _check_packets
    return partial(_check_colours, transform_for(header, model))


def _check_colours(transform: GridTransform, gop: Gop, batches: Iterable[Grids]) -> None:
    """That each index, or each pair of index and shade, names a colour."""
    channels, seen = transform.spec.channels, _Seen()
    for codes in batches:
        for grid in codes:
            seen.add(grid[0], grid[1] if channels > 1 else grid[0])
    first, second = seen.pairs()
    made = np.zeros((1, channels, 1, len(first)), np.uint8)
    made[0, 1:2, 0], made[0, 0, 0] = second, first
    transform.decode(made, gop.transform, gop.quantizer)


def _check_packets(gop: Gop, batches: Iterable[Grids]) -> None:
    """That all decode; any of their values is a colour."""
    for _ in batches:
        pass


def _check_latents(header: Header, gop: Gop, batches: Iterable[Grids]) -> None:
    """That the quantizer has values for all codes; the network gets along with any."""
    quantizer, seen = QUANTIZERS[header.quantizer.name], _Seen()
    for codes in batches:
        seen.add(codes, codes)
    values, _ = seen.pairs()
    channels = -(-header.grid.channels // quantizer.bytes_per_value) * quantizer.bytes_per_value
    made = np.resize(values, (1, channels, 1, -(-len(values) // channels)))  # each once or more
    quantizer.dequantize(made, {**header.quantizer.params, **gop.quantizer})


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
