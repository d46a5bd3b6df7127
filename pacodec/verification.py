"""Proof that a .pac file is whole and that its codes decode on this machine. Needs neither torch nor PyAV."""

from pathlib import Path

from pacodec import container
from pacodec.blas import one_thread
from pacodec.container import Reader
from pacodec.errors import PacodecError
from pacodec.gops import decode_gop
from pacodec.naming import naming
from pacodec.predictors.base import Predictor
from pacodec.resolve import predictor_of


def verify(path: str | Path, *, model: str | None = None) -> list[str]:
    """Everything wrong with the file, a line each; empty for a good one.

    `model` is a name or path of the model that a file needs whose codes are predicted by one, where it is not found.

    Checks every CRC and the index, and decodes all codes against the checksums taken when they were encoded. Raises
    FileAccessError, CorruptFileError (not a .pac file at all), UnsupportedError, ModelError or LimitError.
    """
    with naming(path), Reader(path) as reader:
        return container.verify(reader) or verify_codes(
            reader, predictor_of(reader.header, reader.model_bytes(), model)
        )


def verify_codes(reader: Reader, predictor: Predictor) -> list[str]:
    """The GOPs whose codes do not decode to what was encoded, a line each."""
    problems = list[str]()
    with one_thread():
        for number in range(len(reader.gops)):
            try:
                for _ in decode_gop(reader.gop(number), reader.header.grid, predictor):
                    pass
            except PacodecError as error:
                problems.append(f"GOP {number}: {error}")
    return problems
