"""The API reference as HTML, from the docstrings: python examples/api_reference.py FOLDER."""

import sys
import warnings
from contextlib import chdir
from pathlib import Path

import pdoc

import pacodec


def write_reference(folder: Path) -> None:
    """Write pages about the public names and about `pacodec.errors`; a name that cannot be documented is an error."""
    for name in pacodec.__all__:
        getattr(pacodec, name)  # each is loaded when it is first used, and pdoc shows those that are there
    target = folder.resolve()
    # From elsewhere: pdoc takes a name for the folder of that name, if there is one.
    with chdir(target), warnings.catch_warnings():
        warnings.simplefilter("error")
        pdoc.pdoc("pacodec", "pacodec.errors", output_directory=target)


if __name__ == "__main__":
    write_reference(Path(sys.argv[1]))
