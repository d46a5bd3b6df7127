"""Sections "Preamble", "Chunks" and "Recovery": what lies where, past damage."""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from independent.refusal import Unsupported, bounded, expect

MIB = 1 << 20
MOST = {
    "HEAD": MIB,
    "modl": 1024 * MIB,
    "GOPC": 1024 * MIB,
    "audp": 16 * MIB,
    "head": MIB + 32,
    "indx": 256 * MIB,
    "tail": 8,
}
MOST_UNKNOWN = 1024 * MIB
MAX_FRAMES = 10**8
VERSION = 1


@dataclass(frozen=True)
class Chunk:
    """Where a chunk lies, and what it holds; `intact` tells whether the payload matches its CRC."""

    kind: str
    offset: int
    payload: bytes
    intact: bool

    @property
    def end(self) -> int:
        """Offset of the byte after it."""
        return self.offset + len(self.payload) + 20


def preamble(data: bytes) -> int:
    """Check the first 32 bytes; the number of frames that they declare, 0 where it is not known."""
    expect(data[:8] == b"\x89PAC\r\n\x1a\n", "not a .pac file")
    expect(len(data) >= 32, "cut short within its first 32 bytes")
    _, min_reader, _, frames, _, crc = struct.unpack_from("<HHIQII", data, 8)
    if min_reader > VERSION:
        raise Unsupported(f"needs a reader of version {min_reader}")
    expect(crc == zlib.crc32(data[:28]), "the first 32 bytes are damaged")
    return bounded("the number of frames", frames, MAX_FRAMES)


def start(data: bytes, offset: int) -> tuple[str, int] | None:
    """Type and payload length of the chunk at an offset, None where none starts."""
    raw = data[offset : offset + 16]
    if len(raw) < 16 or not raw[:4].isalpha() or struct.unpack_from("<I", raw, 12)[0] != zlib.crc32(raw[:12]):
        return None
    kind, (length,) = raw[:4].decode("ascii"), struct.unpack_from("<Q", raw, 4)
    return kind, bounded(f"the length of the {kind} chunk", length, MOST.get(kind, MOST_UNKNOWN))


def chunk(data: bytes, offset: int) -> Chunk | None:
    """The whole chunk at an offset; None where none starts, or where it ends beyond the file."""
    found = start(data, offset)
    if found is None or offset + found[1] + 20 > len(data):
        return None
    kind, length = found
    payload = data[offset + 16 : offset + 16 + length]
    (crc,) = struct.unpack_from("<I", data, offset + 16 + length)
    return Chunk(kind, offset, payload, crc == zlib.crc32(payload))


def scan(data: bytes, position: int, damage: list[str]) -> Iterator[Chunk]:
    """Every whole chunk from a position on, intact or not, by the steps of "Recovery"; notes what is wrong."""
    last, gone_back = "", 0
    while position < len(data):
        if start(data, position) is None:
            damage.append(f"no chunk at offset {position}")
            position = _search(data, position + 1)
            continue
        found = chunk(data, position)
        if found is None:
            damage.append(f"the chunk at offset {position} is cut short")
            position = _search(data, position + 16)
            continue
        if found.kind not in MOST and found.kind[0].isupper():
            raise Unsupported(f"the critical chunk {found.kind} is unknown")
        yield found
        last, position = found.kind, found.end
        if found.intact:
            continue
        damage.append(f"the {found.kind} chunk at offset {found.offset} is damaged")
        if found.end < len(data) and start(data, found.end) is None and found.offset >= gone_back:
            position, gone_back = _search(data, found.offset + 16), found.end
    if last != "tail":
        damage.append("the end is missing")


def _search(data: bytes, position: int) -> int:
    """Where the next chunk of a known type starts, or the end of the file."""
    for match in re.compile(b"|".join(kind.encode() for kind in MOST)).finditer(data, position):
        if start(data, match.start()):
            return match.start()
    return len(data)
