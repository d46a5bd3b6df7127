"""How long the last picture of an animated image is shown, which FFmpeg guesses from those before it."""

import struct
import zlib
from fractions import Fraction
from typing import Protocol

_APNG_START, _CONTROL = 8, b"fcTL"
"""The chunks of a PNG file follow its signature; this one stands before each frame."""
_CONTROL_BYTES, _DELAY_AT = 26, 20
"""Its size, and where in it the numerator and denominator of the frame's seconds are, 16 bits each."""
_WEBP_START, _FRAME, _FRAME_DURATION_AT = 12, b"ANMF", 12
"""The chunks of a WebP file follow its head; a frame's milliseconds are 24 bits in this one."""


class Editable(Protocol):
    """A file that can be read and written anywhere."""

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to an offset, as a file's `seek` does."""

    def read(self, size: int = -1) -> bytes:
        """Read bytes, as a file's `read` does."""

    def write(self, data: bytes) -> int:
        """Write bytes, as a file's `write` does."""


def set_in_apng(file: Editable, duration: Fraction) -> None:
    """Set it, in seconds, in a complete file that can be read and written; one of a single picture has none."""
    position, last = _APNG_START, None
    while len(head := _at(file, position, 8)) == 8:
        size, name = struct.unpack(">I4s", head)
        last = position + 8 if name == _CONTROL else last
        position += 12 + size
    if last is not None:
        control = bytearray(_at(file, last, _CONTROL_BYTES))
        short = min(duration, Fraction(0xFFFF)).limit_denominator(1000)
        if short.numerator > 0xFFFF:
            short = Fraction(round(short))
        struct.pack_into(">HH", control, _DELAY_AT, short.numerator, short.denominator)
        file.seek(last)
        file.write(bytes(control) + struct.pack(">I", zlib.crc32(_CONTROL + control)))
    file.seek(0, 2)


def set_in_webp(data: bytes, milliseconds: int) -> bytes:
    """A whole WebP file whose last frame lasts until so many milliseconds after the first began; one of a single
    picture has no times.
    """
    position, last, before = _WEBP_START, None, 0
    while position + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, position)
        if name == _FRAME:
            # Pictures that do not change may have become one frame, so only the end of the last one is known.
            before += 0 if last is None else _milliseconds(data, last)
            last = position + 8 + _FRAME_DURATION_AT
        position += 8 + size + size % 2
    if last is None:
        return data
    left = min(max(milliseconds - before, 0), (1 << 24) - 1)
    return data[:last] + left.to_bytes(3, "little") + data[last + 3 :]


def _milliseconds(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 3], "little")


def _at(file: Editable, position: int, size: int) -> bytes:
    file.seek(position)
    return file.read(size)
