"""Proof that a .pac file is whole and that its codes decode on this machine. Needs neither torch nor PyAV."""

from pathlib import Path

from pacodec import container
from pacodec.blas import one_thread
from pacodec.container import Reader
from pacodec.errors import ModelError, PacodecError
from pacodec.gops import decode_gop
from pacodec.naming import naming
from pacodec.picture_check import picture_check
from pacodec.predictors.base import Predictor
from pacodec.resolve import model_of, predictor_of
from pacodec.weights import ModelFile


def verify(path: str | Path, *, model: str | None = None) -> list[str]:
    """Everything wrong with the file, a line each; empty for a good one.

    `model` is a name or path of the model that a file needs whose codes are predicted by one, where it is not found.

    Checks every CRC and the index, decodes all codes against the checksums taken when they were encoded, and sees
    whether pictures can be made of them. The networks of autoencoders do not run for that; and where a model that only
    the pictures need is not found, what it alone could tell stays unchecked.

    Raises FileAccessError, CorruptFileError (not a .pac file at all, or no picture can be made), UnsupportedError,
    ModelError or LimitError.
    """
    with naming(path), Reader(path) as reader:
        problems = container.verify(reader)
        if problems:
            return problems
        predictor = predictor_of(reader.header, reader.model_bytes(), model)
        return verify_codes(reader, predictor, _model_of_pictures(reader, model))


def verify_codes(reader: Reader, predictor: Predictor, model: ModelFile | None = None) -> list[str]:
    """The GOPs whose codes do not decode to what was encoded, or that no pictures can be made of, a line each.

    `model` is the one that the header names, None where that is not found. Raises UnsupportedError, CorruptFileError or
    LimitError where no picture at all can be made.
    """
    pictures = picture_check(reader.header, model)
    problems = list[str]()
    with one_thread():
        for number in range(len(reader.gops)):
            try:
                gop = reader.gop(number)
            except PacodecError as error:
                problems.append(str(error))
                continue
            try:
                pictures.check(gop, decode_gop(gop, reader.header.grid, predictor))
            except PacodecError as error:
                problems.append(f"{reader.label(number)}: {error}")
    return problems


def _model_of_pictures(reader: Reader, given: str | None) -> ModelFile | None:
    """The model that the header names; None where it names none, or where it is not found and was not `given`."""
    try:
        return model_of(reader.header, reader.model_bytes(), given)
    except ModelError:
        if given is not None:
            raise
        return None
