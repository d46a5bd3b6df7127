"""Faults: what may be wrong with a file, and the ways of making it so that several of them share."""

from dataclasses import dataclass
from typing import Any

import zstandard
from vectors.making import surgery
from vectors.making.surgery import Change
from vectors.making.vectors import stored

CORRUPT, UNSUPPORTED, MODEL, LIMIT = "CorruptFileError", "UnsupportedError", "ModelError", "LimitError"
EXIT_CODES = {CORRUPT: 3, UNSUPPORTED: 4, MODEL: 4, LIMIT: 5}


@dataclass(frozen=True)
class Fault:
    """What is wrong with a file, how to make it, and what becomes of it.

    `error` is the exception with which `decode` ends, and `verify` the exit code of the command of that name, where it
    is another: 0 for what it does not look at.
    """

    about: str
    base: str
    change: Change
    error: str = CORRUPT
    verify: int | None = None

    def make(self) -> bytes:
        """The bytes of the file."""
        return self.change(stored(self.base))

    @property
    def expected(self) -> dict[str, Any]:
        """For the manifest."""
        exit_code = EXIT_CODES[self.error]
        verify = exit_code if self.verify is None else self.verify
        return {"about": self.about, "error": self.error, "decode": exit_code, "verify": verify}


def fault(
    about: str, change: Change, error: str = CORRUPT, *, base: str = "palette", verify: int | None = None
) -> Fault:
    """A fault of a valid vector."""
    return Fault(about, f"valid/{base}", change, error, verify)


def in_gop(about: str, change: Change, error: str = CORRUPT, *, base: str = "palette") -> Fault:
    """A fault of a GOP, which `verify` reports as damage whatever its kind."""
    return fault(about, change, error, base=base, verify=3)


def flip(offset: int) -> Change:
    """Change a bit."""
    return lambda data: data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :]


def announced(kind: str, length: int) -> Change:
    """A file that ends with the start of a chunk that is said to be so long."""

    def change(data: bytes) -> bytes:
        parts = surgery.split(data)
        kept = parts[: next(number for number, part in enumerate(parts) if part[0] == kind)]
        return surgery.join(kept, data[:32]) + surgery.announcement(kind, length) + bytes(100)

    return change


def zstd(content: bytes, *, size: bool = True, window: int = 0) -> bytes:
    """A zstd frame."""
    parameters = zstandard.ZstdCompressionParameters.from_level(
        19, write_content_size=size, **({"window_log": window} if window else {})
    )
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj(size=len(content) if size else -1)
    return compressor.compress(content) + compressor.flush()


def with_dictionary(content: bytes) -> bytes:
    """A zstd frame that names a dictionary, which its one raw block does not use."""
    single_segment_one_byte_id = 0b0010_0001
    block = (len(content) << 3 | 1).to_bytes(3, "little")
    return b"\x28\xb5\x2f\xfd" + bytes([single_segment_one_byte_id, 77, len(content)]) + block + content


BOMB = zstd(bytes(1 << 26))
TIMES = bytes([0, 2, 2, 2])
