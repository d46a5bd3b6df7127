"""Output that is whole or not there: written beside its target and renamed when complete; `-` is standard output."""

import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pacodec.container import MAGIC
from pacodec.errors import FileAccessError, PacodecError, UsageError
from pacodec.naming import STANDARD_STREAM

PAC_SUFFIX = ".pac"
FOREIGN_SUFFIXES = frozenset(
    {
        *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".vob", ".flv"),
        *(".wmv", ".ogv", ".3gp", ".h264", ".h265", ".hevc", ".264", ".265", ".ivf", ".y4m"),
        *(".gif", ".webp", ".png", ".apng", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"),
        *(".mp3", ".m4a", ".wav", ".pacmodel"),
    }
)
"""Of files that nobody takes a .pac file for."""


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


def check_pac_target(target: str) -> None:
    """Refuse a name that says that the .pac file to be written is something else, or a file that is something else.

    Raises UsageError for a suffix of videos and pictures, and for an existing file that is neither empty nor a .pac
    file and is not called one.
    """
    path = Path(target)
    suffix = path.suffix.lower()
    if target == STANDARD_STREAM or suffix == PAC_SUFFIX:
        return
    if suffix in FOREIGN_SUFFIXES:
        better = path.with_suffix(PAC_SUFFIX)
        raise UsageError(f"{target}: would be a .pac file in spite of its suffix; call it {better}")
    if path.is_file() and not is_pac(path) and path.stat().st_size:
        raise UsageError(f"{target}: is there, and not a .pac file; give the output a name that ends in {PAC_SUFFIX}")


def is_pac(path: Path) -> bool:
    """Whether a file begins as a .pac file does; FileAccessError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except (OSError, ValueError) as error:
        raise FileAccessError(f"{path}: {getattr(error, 'strerror', None) or error}") from error


@contextmanager
def replacing(target: str) -> Iterator[Path]:
    """A new empty file beside `target`, which takes its place when the block ends well and vanishes otherwise.

    Its name keeps the suffix, which says what container to write.
    """
    path = Path(target)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.stem[:32]}.", suffix=f".part{path.suffix}", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise FileAccessError(f"{target}: {error.strerror}") from error
    part = Path(name)
    try:
        with failing(target, part):
            yield part
            put_in_place(part, path)
    finally:
        part.unlink(missing_ok=True)


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
