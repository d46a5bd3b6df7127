"""Where the bytes of a file come from: a descriptor, memory, or a pipe; all read at absolute offsets."""

import io
import os
from pathlib import Path
from typing import BinaryIO, Protocol

from pacodec.errors import FileAccessError

WINDOW = 1 << 20
"""Bytes taken at a time where a length is only declared, or where damage is searched."""


class ByteSource(Protocol):
    """Bytes at absolute offsets."""

    def has(self, end: int) -> bool:
        """Whether the bytes before `end` exist."""

    def read_at(self, offset: int, size: int) -> bytes:
        """The bytes offset .. offset + size, fewer only where the file ends. FileAccessError."""

    def forget(self, offset: int) -> None:
        """Bytes before `offset` will not be asked for again."""

    def close(self) -> None:
        """Release what was opened."""


class SizedByteSource(ByteSource, Protocol):
    """Bytes whose number is known, so that the last of them can be asked for first."""

    size: int


class FileSource:
    """A regular file, read with pread: no shared position, so threads and forked children may read at once."""

    def __init__(self, descriptor: int) -> None:
        """Takes over `descriptor`."""
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size

    def has(self, end: int) -> bool:
        return end <= self.size

    def read_at(self, offset: int, size: int) -> bytes:
        size = max(0, min(size, self.size - offset))
        parts = []
        try:
            while size > 0 and (part := os.pread(self._descriptor, size, offset)):
                parts.append(part)
                offset, size = offset + len(part), size - len(part)
        except OSError as error:
            raise FileAccessError(f"cannot read: {error.strerror}") from error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def forget(self, offset: int) -> None:
        """Do nothing: no bytes are held."""

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class MemorySource:
    """A file in memory."""

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._data = memoryview(data).cast("B")
        self.size = len(self._data)

    def has(self, end: int) -> bool:
        return end <= self.size

    def read_at(self, offset: int, size: int) -> bytes:
        return bytes(self._data[offset : offset + size])

    def forget(self, offset: int) -> None:
        """Do nothing: no bytes are held."""

    def close(self) -> None:
        self._data.release()


class StreamSource:
    """A pipe: holds only the bytes between the last `forget` and the furthest one asked for, never reads ahead."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._held = bytearray()
        self._start = 0

    def has(self, end: int) -> bool:
        try:
            while (missing := end - self._start - len(self._held)) > 0:
                part = self._file.read(min(missing, WINDOW))
                if not part:
                    return False
                self._held += part
        except OSError as error:
            raise FileAccessError(f"cannot read: {error.strerror}") from error
        return True

    def read_at(self, offset: int, size: int) -> bytes:
        self.has(offset + size)
        return bytes(self._held[offset - self._start : offset - self._start + size])

    def forget(self, offset: int) -> None:
        if offset > self._start:
            del self._held[: offset - self._start]
            self._start = offset

    def close(self) -> None:
        self._held.clear()


Readable = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO
"""What a Reader opens: a path, the file's bytes, or an open file (which it does not close or move)."""


def open_source(file: Readable) -> FileSource | MemorySource:
    """A random-access source; FileAccessError where there is none (missing file, a pipe, a folder)."""
    if isinstance(file, bytes | bytearray | memoryview):
        return MemorySource(file)
    if isinstance(file, io.BytesIO):
        return MemorySource(file.getvalue())
    try:
        if isinstance(file, str | os.PathLike):
            path = Path(file)
            if not path.is_file():
                # Opening a named pipe would wait for its other end.
                raise FileAccessError(f"{path}: {'not a regular file' if path.exists() else 'no such file'}")
            return FileSource(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        if not file.seekable():
            raise FileAccessError("a pipe cannot be read out of order; read it as a stream")
        return FileSource(os.dup(file.fileno()))
    except OSError as error:
        raise FileAccessError(f"cannot open {getattr(file, 'name', file)}: {error.strerror or error}") from error
