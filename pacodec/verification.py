"""Proof that a .pac file is whole and that its codes decode on this machine. Needs neither torch nor PyAV."""

from pathlib import Path

from pacodec import container
from pacodec.common.files import naming
from pacodec.container import Reader
from pacodec.errors import ModelError, PacodecError
from pacodec.gop.check import picture_check
from pacodec.gop.coding import decode_gop
from pacodec.gop.priors import decoders_of, model_of
from pacodec.models.files import ModelFile
from pacodec.reports import ProgressCallback


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
    pictures, decoders = picture_check(reader.header, model), decoders_of(reader, model)
    problems = list[str]()
    for number, entry in enumerate(reader.gops):
        progress(entry.first_frame, reader.frames)
        try:
            gop = reader.gop(number)
        except PacodecError as error:
            problems.append(str(error))
            continue
        try:
            pictures.check(gop, decode_gop(gop, decoders))
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
