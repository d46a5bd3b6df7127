"""Where a written video goes: a file or pipe that FFmpeg writes through, and that can be left unfinished."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from pacodec.errors import FileAccessError

Target = str | os.PathLike[str] | BinaryIO
"""A path, or a binary file object, which need not be seekable."""


class OutputFile:
    """The file object that FFmpeg gets.

    FFmpeg would finish a file on its own when its context is freed; it does not touch one that calls itself closed.
    A path is opened (and made anew) here and closed by `close`; a file object that was given stays open.
    """

    def __init__(self, target: Target) -> None:
        self.closed = False
        self._owned = isinstance(target, str | os.PathLike)
        if isinstance(target, str | os.PathLike):
            self.name = os.fspath(target)
            try:
                self._file: BinaryIO = Path(target).open("w+b")  # noqa: SIM115 - closed by close()
            except (OSError, ValueError) as error:
                raise FileAccessError(f"{self.name}: {getattr(error, 'strerror', None) or error}") from error
            # A character device says that it can seek, but what went through it is gone.
            self._seekable = stat.S_ISREG(os.fstat(self._file.fileno()).st_mode)
        else:
            self.name = str(getattr(target, "name", "output"))
            self._file = target
            self._seekable = target.seekable()

    def seekable(self) -> bool:
        """Whether what is written can be gone back to."""
        return self._seekable

    def readable(self) -> bool:
        """Whether what is written can be read again."""
        return self._seekable and self._file.readable()

    def write(self, data: bytes) -> int:
        """Write all of `data`; unbuffered files and pipes may take it in parts."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) or 0 :]
        return len(data)

    def read(self, size: int = -1) -> bytes:
        """What was written, from where the file stands; io.UnsupportedOperation where that cannot be read."""
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As a file's seek."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """As a file's tell."""
        return self._file.tell()

    def close(self) -> None:
        """Hand everything to the system; OSError if it does not take it."""
        self.closed = True
        if self._owned:
            self._file.close()
        else:
            self._file.flush()

    def abandon(self) -> None:
        """Let go of the file as it is, whatever state it is in."""
        self.closed = True
        if self._owned:
            try:
                self._file.close()
            except OSError:
                return  # the caller is already being told of a failure
