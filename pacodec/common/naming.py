"""What files are called in messages; `-` is a standard stream."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pacodec.errors import CorruptFileError, LimitError, UnsupportedError

STANDARD_STREAM = "-"


@contextmanager
def naming(file: str | Path) -> Iterator[None]:
    """Put the file's name in front of what is found wrong with it inside the block, where the message lacks it."""
    name = "standard input" if str(file) == STANDARD_STREAM else str(file)
    try:
        yield
    except (CorruptFileError, UnsupportedError, LimitError) as error:
        if str(error).startswith(f"{name}:"):
            raise
        raise type(error)(f"{name}: {error}") from error
