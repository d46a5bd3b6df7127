"""The first 32 bytes of a file, little-endian.

offset  size  field
0       8     magic 89 50 41 43 0D 0A 1A 0A
8       2     version of the format, u16
10      2     oldest version of a reader that can read the file, u16
12      4     flags, u32: 0; unknown bits are ignored
16      8     frames in the file, u64; 0 = not known when these bytes were written
24      4     reserved, u32: 0, ignored
28      4     CRC-32 of bytes 0..27, u32
"""

import struct
import zlib

from pacodec import limits
from pacodec.errors import CorruptFileError, UnsupportedError

MAGIC = b"\x89PAC\r\n\x1a\n"
VERSION = 1
FIELDS = struct.Struct("<8sHHIQI")
CRC = struct.Struct("<I")
PREAMBLE_BYTES = FIELDS.size + CRC.size


def pack_preamble(frames: int) -> bytes:
    """The preamble of a file of `frames` frames, 0 when not known yet."""
    fields = FIELDS.pack(MAGIC, VERSION, VERSION, 0, frames, 0)
    return fields + CRC.pack(zlib.crc32(fields))


def unpack_preamble(raw: bytes) -> int:
    """Check the preamble and return its frame count, 0 when not known.

    CorruptFileError when these are not the first bytes of a .pac file or are damaged, UnsupportedError when a newer
    reader is needed, LimitError for too many frames.
    """
    if not raw.startswith(MAGIC):
        raise CorruptFileError("not a .pac file" if raw else "not a .pac file: it is empty")
    if len(raw) < PREAMBLE_BYTES:
        raise CorruptFileError(f"cut short: {len(raw)} bytes are left of the {PREAMBLE_BYTES} that begin a .pac file")
    _, version, min_reader, _, frames, _ = FIELDS.unpack_from(raw)
    # Before the CRC: a later version may lay the rest out differently.
    if min_reader > VERSION:
        raise UnsupportedError(
            f"format version {version} needs a reader of version {min_reader} or newer, this one has {VERSION}"
        )
    if raw[FIELDS.size : PREAMBLE_BYTES] != CRC.pack(zlib.crc32(raw[: FIELDS.size])):
        raise CorruptFileError("the first 32 bytes are damaged (CRC mismatch)")
    return limits.check("the number of frames", int(frames), limits.MAX_FRAMES)
