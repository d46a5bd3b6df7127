"""Output that is whole or not there: written beside its target and renamed when complete; `-` is standard output."""

import hashlib
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pacodec.errors import CorruptFileError, FileAccessError, LimitError, PacodecError, UnsupportedError, UsageError


def check_target(target: str, *, overwrite: bool, sources: tuple[str, ...] = ()) -> None:
    """Refuse early what would fail late: an existing target, one that is a source, a folder that is not writable.

    Raises UsageError for a target that is also a source, else FileAccessError.
    """
    if target == STANDARD_STREAM:
        return
    path = Path(target)
    for source in sources:
        if source != STANDARD_STREAM and path.exists() and Path(source).exists() and path.samefile(source):
            raise UsageError(f"{target}: input and output are the same file")
    if path.is_dir():
        raise FileAccessError(f"{target}: is a directory")
    if path.exists() and not overwrite:
        raise FileAccessError(f"{target}: exists already; -y overwrites it")
    if path.exists() and not path.is_file():  # a device must not be replaced by a file
        raise FileAccessError(f"{target}: is not a regular file; '-' writes to standard output")
    folder = path.parent
    if not folder.is_dir():
        raise FileAccessError(f"{target}: the folder {folder} does not exist")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise FileAccessError(f"{target}: the folder {folder} is not writable")


_TRIES = 100
"""To remove a folder that another thread may still write to."""
_unfinished = set[Path]()


@contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """A file or folder that is gone after the block, or when `remove_unfinished` is called before."""
    _unfinished.add(path)
    try:
        yield path
    finally:
        _remove(path)
        _unfinished.discard(path)


def remove_unfinished() -> None:
    """Remove all outputs that are not complete, for a process that ends at once."""
    for path in tuple(_unfinished):
        _remove(path)


def _remove(path: Path) -> None:
    if not path.is_dir():
        path.unlink(missing_ok=True)
    for _ in range(_TRIES):
        if not path.is_dir():
            return
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def replacing(target: str) -> Iterator[Path]:
    """A new empty file beside `target`, which takes its place when the block ends well and vanishes otherwise.

    Its name keeps the suffix, which says what container to write.
    """
    path = Path(target)
    with unfinished(path.with_name(hidden_name(path.stem[:32], path.suffix))) as part, failing(target, part):
        part.touch(mode=0o600, exist_ok=False)
        yield part
        put_in_place(part, path)


def hidden_name(stem: str, suffix: str = "") -> str:
    """A new name for what is to become something when it is complete: hidden, and with .part in it."""
    return f".{stem}.{secrets.token_hex(4)}.part{suffix}"


def put_in_place(part: Path, path: Path) -> None:
    """Make a complete file take the place of `path`, with the permissions of the one that is there; OSError."""
    part.chmod(path.stat().st_mode if path.exists() else 0o666 & ~_umask())
    with part.open("rb") as file:
        os.fsync(file.fileno())  # or the name might survive a power cut and the bytes not
    part.replace(path)


@contextmanager
def failing(target: str, part: Path | None = None) -> Iterator[None]:
    """Name the target in what goes wrong with writing it; `part` is the file that is written for it."""
    try:
        yield
    except OSError as error:
        raise FileAccessError(f"{target}: {error.strerror or error}") from error
    except FileAccessError as error:
        raise _about(target, str(error).removeprefix(f"{part}: "), error) from error


@contextmanager
def writing(target: str) -> Iterator[BinaryIO]:
    """A binary file for `target`, replaced when complete; standard output for `-`."""
    if target == STANDARD_STREAM:
        try:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        except OSError as error:
            raise FileAccessError(f"standard output: {error.strerror or error}") from error
        except FileAccessError as error:
            raise _about("standard output", str(error), error) from error
        return
    with replacing(target) as part, part.open("wb") as file:
        yield file


def write_whole(target: str, data: bytes) -> None:
    """Write all of a file at once, as `writing` does."""
    with writing(target) as file:
        file.write(data)


def fingerprint(path: str | Path) -> tuple[str, int]:
    """sha256 of a file's content in hexadecimal, and its bytes; FileAccessError where it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest(), os.fstat(file.fileno()).st_size
    except OSError as error:
        raise FileAccessError(f"{path}: {error.strerror or error}") from error


def _about(target: str, message: str, error: PacodecError) -> PacodecError:
    """The error of whoever writes, with the name of the target, which the writer does not know."""
    return FileAccessError(f"{target}: {message}") if message.startswith("cannot write") else error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


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
