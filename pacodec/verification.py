"""Proof that a .pac file is whole and that its codes decode on this machine. Needs neither torch nor PyAV."""

from pathlib import Path

from pacodec import container
from pacodec.container import Reader
from pacodec.errors import PacodecError
from pacodec.gops import decode_gop
from pacodec.naming import naming
from pacodec.predictors import get_predictor


def verify(path: str | Path) -> list[str]:
    """Everything wrong with the file, a line each; empty for a good one.

    Checks every CRC and the index, and decodes all codes against the checksums taken when they were encoded. Raises
    FileAccessError, CorruptFileError (not a .pac file at all), UnsupportedError or LimitError.
    """
    with naming(path), Reader(path) as reader:
        return container.verify(reader) or verify_codes(reader)


def verify_codes(reader: Reader) -> list[str]:
    """The GOPs whose codes do not decode to what was encoded, a line each."""
    predictor, problems = get_predictor(reader.header.predictor.name), list[str]()
    for number in range(len(reader.gops)):
        try:
            for _ in decode_gop(reader.gop(number), reader.header.grid, predictor):
                pass
        except PacodecError as error:
            problems.append(f"GOP {number}: {error}")
    return problems
