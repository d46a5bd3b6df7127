"""Small .pac containers, whole and tampered with, for tests."""

import hashlib
import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any, BinaryIO, cast

import msgpack
import numpy as np
import pytest

from pacodec.common.media import AudioPacket, AudioStream, GridSpec, VideoFormat
from pacodec.container import (
    Component,
    Gop,
    Header,
    ModelRef,
    Reader,
    StreamReader,
    Writer,
    verify,
)
from pacodec.container.packing import DICTIONARY
from pacodec.errors import CorruptFileError

AUDIO = AudioStream("aac", Fraction(1, 44100), 44100, "stereo", "fltp", extradata=b"\x12\x10")
MODEL = b"weights" * 9
HEADER = Header(
    writer="pacodec test",
    video=VideoFormat(16, 8, Fraction(1, 90000), audio=(AUDIO, AUDIO)),
    grid=GridSpec(channels=1, height=8, width=16, ordinal=False),
    transform=Component("palette", {"colours": bytes(range(12))}),
    quantizer=Component("kmeans", {"levels": 4, "low": [-1.5, 0.25]}),
    model=ModelRef("retro", hashlib.sha256(MODEL).digest()),
)
PACKETS = [AudioPacket(i % 2, 1024 * i - 2048, 1024 * i - 2048, 1024, True, bytes([i]) * (5 + i)) for i in range(12)]


def make_gop(first_frame: int, frames: int = 4, *, start: int = 0, payload: bytes = b"payload") -> Gop:
    repeats = np.zeros(frames, np.bool_)
    repeats[2::3] = True
    return Gop(first_frame, start + 3000 * np.arange(frames + 1), repeats, 0xDEADBEEF, payload)


GOPS = [
    make_gop(0, 4, payload=bytes(range(40))),
    replace(make_gop(4, 3, start=12000, payload=b"\xff" * 25), quantizer={"scale": 0.5}, transform={"shift": [1, 2]}),
    replace(make_gop(7, 5, start=21000, payload=b""), coder=Component("engine", {"level": 3})),
]


def write(
    gops: list[Gop] = GOPS,
    *,
    header: Header = HEADER,
    packets: list[AudioPacket] = PACKETS,
    model: bytes | None = MODEL,
    source_bytes: int | None = 123_456,
    file: io.BytesIO | None = None,
) -> bytes:
    """A file of `gops`, the audio packets spread between them."""
    file = file or io.BytesIO()
    writer = Writer(file, header, model)
    share = -(-len(packets) // max(1, len(gops)))
    for i, gop in enumerate(gops):
        writer.add_gop(gop)
        writer.add_audio(packets[share * i : share * (i + 1)])
    writer.close(source_bytes)
    return file.getvalue()


def same(a: Gop, b: Gop) -> bool:
    return (
        np.array_equal(a.pts, b.pts)
        and np.array_equal(a.repeats, b.repeats)
        and (a.first_frame, a.codes_crc, a.payload, a.quantizer, a.transform, a.coder)
        == (b.first_frame, b.codes_crc, b.payload, b.quantizer, b.transform, b.coder)
    )


def chunk(kind: bytes, payload: bytes) -> bytes:
    """A chunk as FORMAT.md lays it out, independent of the code under test."""
    head = struct.pack("<4sI", kind, len(payload))
    return head + struct.pack("<I", zlib.crc32(head)) + payload + struct.pack("<I", zlib.crc32(payload))


def preamble(*, version: int = 2, min_reader: int = 2, flags: int = 0, frames: int = 0) -> bytes:
    fields = struct.pack("<8sBBHI", b"\x89PAC\r\n\x1a\n", version, min_reader, flags, frames)
    return fields + struct.pack("<I", zlib.crc32(fields))


def split(data: bytes) -> list[tuple[bytes, bytes]]:
    """Type and payload of every chunk of a good file."""
    chunks, offset = [], 20
    while offset < len(data):
        kind, length = struct.unpack_from("<4sI", data, offset)
        chunks.append((kind, data[offset + 12 : offset + 12 + length]))
        offset += length + 16
    return chunks


def join(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A file of these chunks; where there is a tail, it points at the index."""
    data = preamble()
    index = 0
    for kind, payload in chunks:
        if kind == b"indx":
            index = len(data)
        data += chunk(kind, struct.pack("<Q", index) if kind == b"tail" else payload)
    return data


def stored(values: Any) -> bytes:
    """A map as it may be stored: plain."""
    return b"\x00" + bytes(msgpack.packb(values))


def load(packed: bytes) -> dict[str, Any]:
    """A stored map, independent of the code under test but for the dictionary."""
    body = packed[1:]
    if packed[:1] == b"\x01":
        body = zlib.decompressobj(-15, zdict=DICTIONARY).decompress(body)
    return dict(msgpack.unpackb(body))


def edit_map(packed: bytes, **changes: Any) -> bytes:
    return stored({**load(packed), **changes})


def edit_header(**changes: Any) -> bytes:
    """A file whose header map has other values."""
    return edit_chunk(b"HEAD", lambda head: edit_map(head, **changes))


def edit_chunk(kind: bytes, change: Callable[[bytes], bytes], data: bytes | None = None) -> bytes:
    """A file whose chunks of this kind have other payloads, with CRCs that hold.

    Where lengths change, the index no longer fits and the file is scanned.
    """
    return join([(k, change(payload) if k == kind else payload) for k, payload in split(data or write())])


class Pipe(io.RawIOBase):
    """A one-way file: not seekable, short reads and writes."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = self.data[: min(7, len(buffer))]
        del self.data[: len(part)]
        buffer[: len(part)] = part
        return len(part)

    def write(self, data: Any) -> int:
        part = bytes(data[:7])
        self.data += part
        return len(part)


def pipe(data: bytes = b"") -> BinaryIO:
    return cast(BinaryIO, Pipe(data))


def read_stream(data: bytes) -> tuple[StreamReader, list[Gop], list[AudioPacket]]:
    reader = StreamReader(pipe(data))
    events = list(reader)
    gops = [event for event in events if isinstance(event, Gop)]
    return reader, gops, [event for event in events if isinstance(event, AudioPacket)]


def side_of(gop: bytes) -> dict[str, Any]:
    (length,) = struct.unpack_from("<I", gop, 16)
    return load(gop[20 : 20 + length])


def with_side(gop: bytes, **changes: Any) -> bytes:
    side = stored({**side_of(gop), **changes})
    (length,) = struct.unpack_from("<I", gop, 16)
    return gop[:16] + struct.pack("<I", len(side)) + side + gop[20 + length :]


def survivors(data: bytes) -> list[int]:
    """Numbers of the GOPs that still read, each of which must be unharmed."""
    found = []
    for gops in (read_all(data), read_stream(data)[1]):
        numbers = []
        for gop in gops:
            number = [known.first_frame for known in GOPS].index(gop.first_frame)
            assert same(gop, GOPS[number])
            numbers.append(number)
        found.append(numbers)
    assert found[0] == found[1]
    return found[0]


def varints(values: list[int]) -> bytes:
    out = bytearray()
    for value in values:
        while value > 0x7F:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        out.append(value)
    return bytes(out)


GOOD_ROWS = {
    "gaps": [0, 0, 0],
    "lengths": [0, 0, 0],
    "frames": [4, 3, 5],
    "starts": [0, 0, 0],
    "spans": [12000, 9000, 15000],
    "coders": [0, 0, 0],
}


def read_all(data: bytes) -> Iterator[Gop]:
    reader = Reader(data)
    problems = verify(reader)
    for i in range(len(reader.gops)):
        named = [problem for problem in problems if problem.startswith(f"GOP {i}")]
        if named:
            with pytest.raises(CorruptFileError, match=f"GOP {i}"):
                reader.gop(i)
        else:
            yield reader.gop(i)
    list(reader.audio())
