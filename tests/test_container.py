"""The .pac container: what is written comes back, and what is damaged or hostile does no harm."""

import io
import multiprocessing
import os
import struct
import subprocess
import sys
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgpack
import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pacodec.common.grids import GridSpec
from pacodec.common.media import AudioPacket, AudioStream, VideoFormat
from pacodec.container import (
    MAX_PTS,
    Component,
    Gop,
    Header,
    ModelRef,
    Reader,
    StreamReader,
    Writer,
    describe_reference,
    verify,
)
from pacodec.container.packing import DICTIONARY
from pacodec.errors import (
    CorruptFileError,
    FileAccessError,
    LimitError,
    PacodecError,
    UnsupportedError,
    UsageError,
)

AUDIO = AudioStream("aac", Fraction(1, 44100), 44100, "stereo", "fltp", extradata=b"\x12\x10")
HEADER = Header(
    writer="pacodec test",
    video=VideoFormat(16, 8, Fraction(1, 90000), audio=(AUDIO, AUDIO)),
    grid=GridSpec(channels=1, height=8, width=16, ordinal=False),
    transform=Component("palette", {"colours": bytes(range(12))}),
    quantizer=Component("kmeans", {"levels": 4, "low": [-1.5, 0.25]}),
    model=ModelRef("retro", bytes(range(32))),
)
MODEL = b"weights" * 9
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


# What is written comes back.


def test_round_trip() -> None:
    data = write()
    with Reader(data) as reader:
        assert reader.header == HEADER
        assert reader.frames == 12
        assert [(e.first_frame, e.frames, e.start, e.end) for e in reader.gops] == [
            (0, 4, 0, 12000),
            (4, 3, 12000, 21000),
            (7, 5, 21000, 36000),
        ]
        assert all(same(reader.gop(i), gop) for i, gop in enumerate(GOPS))
        assert list(reader.audio()) == PACKETS
        assert list(reader.audio()) == PACKETS
        assert reader.model_bytes() == MODEL
        assert reader.source_bytes == 123_456
        assert reader.damage == []
        assert not reader.truncated
        assert verify(reader) == []


def test_sizes_by_kind_add_up() -> None:
    data = write()
    sizes = Reader(data).sizes
    assert sum(sizes.values()) == len(data)
    assert sizes["codes"] == 65
    assert sizes["model"] == len(MODEL) + 16
    assert sizes["other"] == 0
    assert Reader(data[:-1]).sizes == {**sizes, "index": sizes["index"] - 24, "other": 23}


def test_sources(tmp_path: Path) -> None:
    path = tmp_path / "a.pac"
    path.write_bytes(write())
    with path.open("rb") as file:
        file.seek(5)
        for source in (path, str(path), file, bytearray(write()), memoryview(write()), io.BytesIO(write())):
            with Reader(source) as reader:
                assert same(reader.gop(1), GOPS[1])
        assert file.tell() == 5


@given(
    st.lists(
        st.tuples(
            st.integers(1, 70),
            st.integers(0, 2**40),
            st.sampled_from([1, 1, 2, 3, 40, 2**20]),
            st.binary(max_size=60),
            st.randoms(use_true_random=False),
        ),
        max_size=6,
    ),
    st.integers(-(2**50), 2**50),
)
@settings(max_examples=60, deadline=None)
def test_round_trip_of_any_gops(specs: list[tuple[int, int, int, bytes, Any]], start: int) -> None:
    gops: list[Gop] = []
    for frames, gap, jitter, payload, random in specs:
        begin = gops[-1].end + gap if gops else start
        steps = [random.randint(1, jitter) for _ in range(frames - 1)] + [random.randint(0, jitter)]
        pts = begin + np.concatenate(([0], np.cumsum(np.array(steps, np.int64))))
        repeats = np.array([i > 0 and random.random() < 0.4 for i in range(frames)])
        first = gops[-1].first_frame + gops[-1].frames if gops else 0
        gops.append(Gop(first, pts, repeats, random.getrandbits(32), payload, {"scale": jitter}))
    data = write(gops, packets=PACKETS if gops else [])
    reader = Reader(data)
    assert reader.damage == []
    assert verify(reader) == []
    assert len(reader.gops) == len(gops)
    assert all(same(reader.gop(i), gop) for i, gop in enumerate(gops))
    stream, streamed, packets = read_stream(data)
    assert len(streamed) == len(gops)
    assert all(map(same, streamed, gops))
    assert packets == (PACKETS if gops else [])
    assert stream.damage == []


times = st.integers(-(2**58), 2**58)


@given(
    st.lists(
        st.builds(AudioPacket, st.integers(0, 1), times, times, times.map(abs), st.booleans(), st.binary(min_size=1)),
        max_size=30,
    )
)
@settings(max_examples=60, deadline=None)
def test_round_trip_of_any_audio(packets: list[AudioPacket]) -> None:
    assert list(Reader(write(packets=packets)).audio()) == packets


@pytest.mark.parametrize("frames", [1, 2, 300, 65_536])
@pytest.mark.parametrize("step", [1, 1001, 2**40])
def test_constant_frame_rate_costs_a_few_bytes(frames: int, step: int) -> None:
    gop = Gop(0, step * np.arange(frames + 1) - 5, np.zeros(frames, np.bool_), 0, b"")
    reader = Reader(write([gop], packets=[], model=None))
    assert same(reader.gop(0), gop)
    assert reader.sizes["side"] < 70


def test_extreme_timestamps() -> None:
    gop = Gop(0, np.array([-MAX_PTS, -MAX_PTS + 1, MAX_PTS - 1, MAX_PTS]), np.zeros(3, np.bool_), 0, b"")
    assert same(Reader(write([gop], packets=[])).gop(0), gop)


def test_header_bytes_do_not_depend_on_the_order_of_keys() -> None:
    quantizer = Component("kmeans", dict(reversed(list(HEADER.quantizer.params.items()))))
    assert replace(HEADER, quantizer=quantizer).to_msgpack() == HEADER.to_msgpack()


def test_unknown_keys_and_flags_are_ignored() -> None:
    data = edit_chunk(b"indx", lambda index: edit_map(index, later=None))
    assert verify(Reader(data)) == []
    data = edit_chunk(b"HEAD", lambda head: edit_map(head, later={"a": [1]}))
    data = edit_chunk(b"GOPC", lambda gop: with_side(gop, later=1), data)
    reader = Reader(preamble(version=7, flags=0xFFFF) + data[20:])
    assert reader.header == HEADER
    assert same(reader.gop(1), GOPS[1])


# Writing.


def test_pipe_gives_the_same_bytes_but_for_the_frame_count() -> None:
    file = pipe()
    writer = Writer(file, HEADER)
    writer.add_gop(GOPS[0])
    writer.close()
    data = bytes(file.data)  # type: ignore[attr-defined]
    seekable = write(GOPS[:1], packets=[], model=None, source_bytes=None)
    assert data[20:] == seekable[20:]
    assert data[:20] == preamble(frames=0)
    assert seekable[:20] == preamble(frames=4)
    assert Reader(data).frames == Reader(seekable).frames == 4


def test_append_mode_is_not_patched(tmp_path: Path) -> None:
    path = tmp_path / "a.pac"
    with path.open("ab") as file:
        writer = Writer(file, HEADER, MODEL)
        for gop in GOPS:
            writer.add_gop(gop)
        writer.close()
    assert verify(Reader(path)) == []


def test_unfinished_file_reads_as_cut_short() -> None:
    file = io.BytesIO()
    writer = Writer(file, HEADER)
    writer.add_gop(GOPS[0])
    reader = Reader(file.getvalue())
    assert reader.truncated
    assert same(reader.gop(0), GOPS[0])


def test_writer_refuses_what_does_not_continue() -> None:
    writer = Writer(io.BytesIO(), HEADER)
    with pytest.raises(UsageError, match="does not continue"):
        writer.add_gop(GOPS[1])
    writer.add_gop(GOPS[0])
    with pytest.raises(UsageError, match="does not continue"):
        writer.add_gop(make_gop(4, start=11999))
    with pytest.raises(CorruptFileError, match="track 2"):
        writer.add_audio([replace(PACKETS[0], stream=2)])
    writer.close()
    with pytest.raises(UsageError, match="already"):
        writer.add_gop(GOPS[1])
    with pytest.raises(UsageError, match="model"):
        Writer(io.BytesIO(), replace(HEADER, model=None), MODEL)


def test_full_disk_is_a_file_access_error() -> None:
    with Path("/dev/full").open("wb", buffering=0) as file, pytest.raises(FileAccessError, match="No space"):
        Writer(file, HEADER)


def test_closed_pipe_is_a_file_access_error() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb", buffering=0) as file, pytest.raises(FileAccessError, match="Broken pipe"):
        Writer(file, HEADER)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"repeats": np.array([True, False, False, False])}, "cannot repeat"),
        ({"pts": np.array([0, 1, 1, 2, 3])}, "do not increase"),
        ({"pts": np.array([0, 1, 2, 3, 2])}, "do not increase"),
        ({"pts": np.array([0, 1, 2, 3])}, "4 timestamps"),
        ({"pts": np.array([0, 1, 2, 3, MAX_PTS + 1])}, "beyond"),
    ],
)
def test_gop_checks_itself(change: dict[str, Any], error: str) -> None:
    with pytest.raises(CorruptFileError, match=error):
        replace(GOPS[0], **change)


# Streams.


def test_stream_gives_everything_in_order() -> None:
    reader = StreamReader(pipe(write()))
    assert reader.header == HEADER
    assert reader.declared == 12
    assert reader.model_bytes() == MODEL
    kinds = [type(event).__name__ for event in reader]
    assert kinds == (["Gop"] + ["AudioPacket"] * 4) * 3
    assert reader.source_bytes == 123_456
    assert reader.damage == []


def test_stream_does_not_read_ahead() -> None:
    """A GOP is handed out when its last byte arrived, not when the next one begins."""
    file = io.BytesIO()
    writer = Writer(file, replace(HEADER, model=None))
    header_end = file.tell()
    writer.add_gop(GOPS[0])
    source = io.BytesIO(file.getvalue())
    reader = StreamReader(source)
    assert source.tell() == header_end
    next(iter(reader))
    assert source.tell() == len(file.getvalue())


def test_memory_is_flat_on_both_sides() -> None:
    payload = os.urandom(200_000)

    class Endless(io.RawIOBase):
        """Reads the front of a file, then GOP after GOP that is made on the fly."""

        def __init__(self) -> None:
            self.output = Pipe()
            self.output.write = self.keep  # type: ignore[method-assign]
            self.held = bytearray()
            self.writer = Writer(cast(BinaryIO, self.output), HEADER)
            self.count = 0

        def keep(self, data: Any) -> int:
            self.held += data
            return len(data)

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            if not self.held and self.count < 100:
                self.writer.add_gop(make_gop(4 * self.count, start=12000 * self.count, payload=payload))
                self.count += 1
            part = self.held[: len(buffer)]
            del self.held[: len(part)]
            buffer[: len(part)] = part
            return len(part)

    tracemalloc.start()
    count = sum(1 for _ in StreamReader(cast(BinaryIO, Endless())))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 100
    assert peak < 3_000_000


def test_reader_refuses_a_pipe() -> None:
    read_end, write_end = os.pipe()
    os.close(write_end)
    with os.fdopen(read_end, "rb") as file, pytest.raises(FileAccessError, match="pipe"):
        Reader(file)


# Damage.


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


def gop_spans(data: bytes) -> list[range]:
    return [range(entry.offset, entry.offset + entry.length + 16) for entry in Reader(data).gops]


def test_a_flipped_bit_loses_at_most_the_gop_it_hits() -> None:
    data = write(model=None, packets=PACKETS[:3])
    spans = gop_spans(data)
    with Reader(data) as reader:
        front = reader.head_end
    for position in range(len(data)):
        broken = bytearray(data)
        broken[position] ^= 1 << position % 8
        if position < front:
            with pytest.raises((CorruptFileError, UnsupportedError, LimitError)):
                Reader(bytes(broken))
            with pytest.raises((CorruptFileError, UnsupportedError, LimitError)):
                StreamReader(pipe(bytes(broken)))
        else:
            expected = [i for i, span in enumerate(spans) if position not in span]
            assert survivors(bytes(broken)) == expected, position
            if position % 5 == 0:
                assert verify(Reader(bytes(broken))), position


def test_a_cut_file_gives_every_complete_gop() -> None:
    data = write(model=None, packets=PACKETS[:3])
    spans = gop_spans(data)
    with Reader(data) as reader:
        front = reader.head_end
    for size in range(len(data)):
        if size < front:
            with pytest.raises(CorruptFileError):
                Reader(data[:size])
        else:
            assert survivors(data[:size]) == [i for i, span in enumerate(spans) if span.stop <= size], size
            reader = Reader(data[:size])
            assert reader.truncated
            assert any("end is missing" in problem for problem in reader.damage)


@pytest.mark.parametrize("size", [1, 13, 500])
def test_inserted_or_missing_bytes_lose_one_gop(size: int) -> None:
    data = write(model=None)
    inside = Reader(data).gops[1].offset + 40
    longer = data[:inside] + bytes(size) + data[inside:]
    assert survivors(longer) == [0, 2]
    shorter = data[:inside] + data[inside + min(size, 30) :]
    assert survivors(shorter) == [0, 2]
    assert "frames 4 to 6 (0.133 s to 0.233 s) are lost" in Reader(shorter).damage


def test_bytes_after_the_end_are_noted_and_harmless() -> None:
    assert survivors(write() + b"junk") == [0, 1, 2]
    assert Reader(write() + b"junk").damage
    assert Reader(write() + b"junk").source_bytes == 123_456


def test_damaged_audio_leaves_the_rest() -> None:
    data = bytearray(write())
    data[data.index(PACKETS[4].data)] ^= 1
    reader = Reader(bytes(data))
    assert list(reader.audio()) == PACKETS[:4] + PACKETS[8:]
    assert any("audp" in problem for problem in reader.damage)
    _, gops, packets = read_stream(bytes(data))
    assert len(gops) == 3
    assert packets == PACKETS[:4] + PACKETS[8:]


def test_damaged_model_is_named() -> None:
    data = bytearray(write())
    data[data.index(MODEL)] ^= 1
    reader = Reader(bytes(data))
    with pytest.raises(CorruptFileError, match="modl"):
        reader.model_bytes()
    assert verify(reader)


@given(st.binary(max_size=300), st.integers(0, 3000), st.integers(0, 60))
@settings(max_examples=150, deadline=None)
def test_garbage_raises_nothing_but_typed_errors(junk: bytes, position: int, removed: int) -> None:
    good = write()
    data = good[:position] + junk + good[position + removed :]
    with suppress(PacodecError):
        reader = Reader(data)
        verify(reader)
        read_stream(data)
        for i in range(len(reader.gops)):
            reader.gop(i)
        list(reader.audio())
        reader.model_bytes()


# Versions and extensions.


def test_newer_version() -> None:
    rest = write()[20:]
    with pytest.raises(UnsupportedError, match="version 4 needs a reader of version 3"):
        Reader(preamble(version=4, min_reader=3) + rest)
    assert Reader(preamble(version=4, min_reader=2) + rest).frames == 12


def test_the_version_before_is_not_read() -> None:
    with pytest.raises(UnsupportedError, match="version 1 was given up"):
        Reader(b"\x89PAC\r\n\x1a\n" + struct.pack("<HHIQI", 1, 1, 0, 12, 0) + bytes(100))


@pytest.mark.parametrize("place", [1, 2, 3])
def test_unknown_optional_chunks_are_skipped(place: int) -> None:
    chunks = split(write(model=None))[:-2]
    data = join([*chunks[:place], (b"newx", b"whatever"), *chunks[place:]])
    assert survivors(data) == [0, 1, 2]
    assert Reader(data).damage == Reader(join(chunks)).damage


def test_an_index_counts_chunks_it_does_not_know() -> None:
    chunks = split(write(model=None, packets=[]))
    lengths = [len(payload) for kind, payload in chunks if kind == b"GOPC"]
    rows = {**GOOD_ROWS, "gaps": [0, 24, 0], "lengths": lengths}
    index = edit_map(chunks[-2][1], entries=b"\x00" + varints([*chain.from_iterable(rows.values())]))
    reader = Reader(join([*chunks[:2], (b"newx", b"whatever"), *chunks[2:-2], (b"indx", index), chunks[-1]]))
    assert verify(reader) == []
    assert reader.sizes["other"] == 24
    assert all(same(reader.gop(i), gop) for i, gop in enumerate(GOPS))


@pytest.mark.parametrize("place", [1, 2, -2])
def test_unknown_critical_chunks_are_refused(place: int) -> None:
    chunks = split(write(model=None))
    data = join([*chunks[:place], (b"Newx", b"whatever"), *chunks[place:]])
    with pytest.raises(UnsupportedError, match="Newx"):
        list(StreamReader(pipe(data)))
    with pytest.raises(UnsupportedError, match="Newx"):
        verify(Reader(data))
    if place == 1:
        with pytest.raises(UnsupportedError, match="Newx"):
            Reader(data)


# The reference that GOPs begin after.

SEGMENTS = [(3, bytes(range(100))), (1, b""), (2, b"segment" * 50)]
REFERENCE = [data for _, data in SEGMENTS]


def write_with_reference() -> bytes:
    file = io.BytesIO()
    writer = Writer(file, replace(HEADER, reference=describe_reference(SEGMENTS)), MODEL, REFERENCE)
    for number, gop in enumerate(GOPS):
        writer.add_gop(replace(gop, coder=Component("reference", {"segment": number})))
    writer.close()
    return file.getvalue()


def test_a_reference_comes_back() -> None:
    data = write_with_reference()
    with Reader(data) as reader:
        assert reader.reference() == REFERENCE
        assert reader.model_bytes() == MODEL
        assert reader.gop(2).coder == Component("reference", {"segment": 2})
        assert [entry.coder for entry in reader.gops] == ["reference"] * 3
        assert verify(reader) == []
        assert sum(reader.sizes.values()) == len(data)
        assert reader.sizes["reference"] < 1.1 * sum(map(len, REFERENCE)) + 16
    stream, gops, _ = read_stream(data)
    assert stream.reference() == REFERENCE
    assert len(gops) == 3


def test_a_damaged_place_of_the_reference_is_repaired() -> None:
    data = write_with_reference()
    with Reader(data) as reader:
        begin, size = reader.head_end, reader.sizes["reference"]
    for position in range(begin, begin + size):
        broken = bytearray(data)
        broken[position] ^= 1 << position % 8
        assert Reader(bytes(broken)).reference() == REFERENCE
        assert len(Reader(bytes(broken)).gops) == 3
        assert verify(Reader(bytes(broken)))


def test_a_reference_that_is_damaged_twice_is_an_error() -> None:
    broken = bytearray(write_with_reference())
    begin = Reader(bytes(broken)).head_end + 12
    broken[begin] ^= 1
    broken[begin + 200] ^= 1
    with pytest.raises(CorruptFileError, match="more than one place"):
        Reader(bytes(broken)).reference()
    with pytest.raises(CorruptFileError, match="cut short"):
        Reader(bytes(broken[: begin + 200])).reference()


# Limits and attacks.


@pytest.mark.parametrize("data", [b"", b"\x89PAC", b"RIFF" + bytes(100), write()[:19]])
def test_not_a_pac_file(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(data)
    for reader in (lambda: Reader(data), lambda: Reader(tmp_path / "a"), lambda: StreamReader(pipe(data))):
        with pytest.raises(CorruptFileError, match=r"not a \.pac file|cut short"):
            reader()


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "none", tmp_path, tmp_path / "fifo"):
        with pytest.raises(FileAccessError, match=path.name):
            Reader(path)


def test_too_many_frames() -> None:
    with pytest.raises(LimitError, match="frames"):
        Reader(preamble(frames=10**9) + write()[20:])
    with pytest.raises(LimitError, match="frames"):
        Gop(10**9, np.arange(2), np.zeros(1, np.bool_), 0, b"")

    def claim(gop: bytes) -> bytes:
        return gop[:4] + struct.pack("<II", 10**9, 10**9) + gop[12:]

    with pytest.raises(LimitError, match="frames"):
        Reader(edit_chunk(b"GOPC", claim)).gop(0)


@pytest.mark.parametrize(
    "changes",
    [
        {"video": {**HEADER.video.to_dict(), "width": 10**6, "height": 10**6}},
        {"grid": {"channels": 1, "height": 10**6, "width": 10**6, "ordinal": False}},
        {"grid": {"channels": 2**20, "height": 2**14, "width": 2**14, "ordinal": False}},
        {"grid": {"channels": 0, "height": 8, "width": 16, "ordinal": False}},
    ],
)
def test_header_over_a_limit(changes: dict[str, Any]) -> None:
    with pytest.raises(LimitError):
        Reader(edit_header(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"writer": 3},
        {"writer": "\x1b[2J"},
        {"writer": "w" * 1000},
        {"video": None},
        {"grid": {"channels": True, "height": 8, "width": 16, "ordinal": False}},
        {"grid": {"channels": 1, "height": 8, "width": 16, "ordinal": 0}},
        {"grid": []},
        {"transform": {"name": "palette"}},
        {"transform": {"name": "palette", "params": {"scale": float("nan")}}},
        {"quantizer": {"name": 1, "params": {}}},
        {"reference": 5},
        {"reference": {"bytes": 5, "crc": 0, "segments": [[1, 4]]}},
        {"reference": {"bytes": 5, "crc": 0, "segments": [[1, 5, 6]]}},
        {"reference": {"bytes": 5, "crc": 0, "segments": [5]}},
        {"model": {"name": "m", "sha256": b"short"}},
        {"model": "m"},
        {"x": msgpack.Timestamp(1, 2)},
        {"x": msgpack.ExtType(5, b"")},
    ],
)
def test_header_with_wrong_values(changes: dict[str, Any]) -> None:
    with pytest.raises(CorruptFileError, match="header"):
        Reader(edit_header(**changes))


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\x02\x80",
        b"\x01\xff\xff",
        b"\xc0",
        b"\x80",
        b"\x82\xa6writer\xa1a\xa6writer\xa1b",
        b"\x81\x01\x02",
        b"\x81\xa1\xff\x00",
        b"\xdf\xff\xff\xff\xff",
        b"\x81\xa1a\xdd\xff\xff\xff\xff",
        b"\x81\xa1a\xc6\xff\xff\xff\xff",
        b"\x81\xa1a" + b"\x91" * 20 + b"\xc0",
        b"\x81\xa1a" + b"\x91" * 500_000,
        b"\x81\xa1a" + b"\xdd\x00\x00\x3f\xff" * 200_000,
        b"\x80\x80",
    ],
)
def test_hostile_msgpack(head: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(CorruptFileError, match="header"):
            Reader(edit_chunk(b"HEAD", lambda _: head if head[:1] in (b"", b"\x01", b"\x02") else b"\x00" + head))
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", [b"HEAD", b"GOPC", b"audp", b"indx", b"modl", b"anyx"])
def test_a_declared_length_over_the_limit(kind: bytes) -> None:
    head = struct.pack("<4sI", kind, 2**32 - 1)
    data = write(model=None)
    front = 20 if kind == b"HEAD" else Reader(data).head_end
    data = data[:front] + head + struct.pack("<I", zlib.crc32(head)) + data[front:]
    with pytest.raises(LimitError, match="length"):
        Reader(data)
    with pytest.raises(LimitError, match="length"):
        list(StreamReader(pipe(data)))


def test_a_declared_length_beyond_the_file_takes_no_memory() -> None:
    head = struct.pack("<4sI", b"GOPC", 2**29)
    data = write(model=None)
    data = data[: Reader(data).head_end] + head + struct.pack("<I", zlib.crc32(head)) + b"some"
    tracemalloc.start()
    assert Reader(data).gops == []
    assert read_stream(data)[1] == []
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000


def test_nothing_but_chunk_prefixes_takes_no_quadratic_time() -> None:
    front = write(model=None)[: Reader(write(model=None)).head_end]
    count = 20_000
    # Each claims to end one byte before the end of the file.
    prefixes = (struct.pack("<4sI", b"GOPC", 12 * (count - i) + 100 - 17) for i in range(count))
    data = front + b"".join(head + struct.pack("<I", zlib.crc32(head)) for head in prefixes) + bytes(100)
    reader = Reader(data)
    assert reader.gops == []
    assert 0 < len(reader.damage) <= 101
    assert verify(reader)
    assert read_stream(data)[1] == []


def bomb(size: int) -> bytes:
    return zstandard.ZstdCompressor(level=19).compress(bytes(size))


def no_size(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=False).compress(data)


def lying(size: int) -> bytes:
    """A frame that declares one byte and holds `size`."""
    honest = zstandard.ZstdCompressor(write_checksum=False).compress(bytes(size))
    block = no_size(bytes(size))
    assert honest[:4] == block[:4]
    # Frame header: single segment, one byte of content size; then the blocks of the honest frame.
    header_size = zstandard.frame_header_size(honest)
    return honest[:4] + b"\x20\x01" + honest[header_size:]


@pytest.mark.parametrize(
    "frame",
    [
        b"\x01" + bomb(10**9),
        b"\x01" + lying(10**8),
        b"\x01" + no_size(b"\x00\x01"),
        b"\x01" + bomb(5)[:-1],
        b"\x01" + bomb(5) + b"extra",
        b"\x01" + b"\x50\x2a\x4d\x18\x04\0\0\0abcd",
        b"\x01",
        b"\x02abc",
        b"",
        b"\x00" + b"\x80" * 5,
        b"\x00" + b"\xff" * 20 + b"\x01",
        b"\x00" + bytes(100),
    ],
    ids=range(12),
)
def test_hostile_squeezed_fields(frame: bytes) -> None:
    """Each in the place of timestamps, repeat flags, the audio table and the index entries."""
    tracemalloc.start()
    for data in (
        edit_chunk(b"GOPC", lambda gop: with_side(gop, pts=frame)),
        edit_chunk(b"GOPC", lambda gop: with_side(gop, repeats=frame)),
    ):
        with suppress(LimitError):
            assert Reader(data[:-24]).gops == []
        with suppress(LimitError):
            assert read_stream(data)[1] == []
    sound = edit_chunk(b"audp", lambda _: struct.pack("<II", 2, len(frame)) + frame)
    with suppress(LimitError):
        assert read_stream(sound)[2] == []
    with suppress(LimitError):
        assert list(Reader(sound).audio()) == []
    assert verify(Reader(sound))
    index = edit_chunk(b"indx", lambda index: edit_map(index, entries=frame))
    with suppress(LimitError):
        assert len(Reader(index).gops) == 3
        assert Reader(index).damage
    assert tracemalloc.get_traced_memory()[1] < 8_000_000
    tracemalloc.stop()


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


@pytest.mark.parametrize(
    "change",
    [
        {"gops": 10**6},
        {"gops": -1},
        {"gops": 2},
        {"codes_bytes": 10**9},
        {"codes_bytes": 66},
        {"audio_bytes": 10**9},
        {"source_bytes": -5},
        {"rows": {"gaps": [2**62, 2**62, 2**62]}},
        {"rows": {"gaps": [0, 2**63 - 1, 0]}},
        {"rows": {"gaps": [0, 500, 0]}},
        {"rows": {"lengths": [1, 100, 100]}},
        {"rows": {"lengths": [100, 2**61, 100]}},
        {"rows": {"frames": [0, 3, 5]}},
        {"rows": {"frames": [4, 3, 2**40]}},
        {"rows": {"frames": [4, 4, 4]}},
        {"rows": {"starts": [0, 1, 0]}},
        {"rows": {"starts": [2**62, 0, 0]}},
        {"rows": {"spans": [12000, 2**62, 15000]}},
        {"rows": {"spans": [12000, 9000, 15001]}},
        {"rows": {"gaps": [1, 0, 0]}},
        {"rows": {"coders": [0, 1, 0]}},
        {"coders": [1]},
        {"coders": 1},
    ],
)
def test_an_index_that_lies_never_harms(change: dict[str, Any]) -> None:
    data = write(packets=[])
    entries = Reader(data).gops
    model_end = Reader(data).sizes["model"]
    rows = {**GOOD_ROWS, "gaps": [model_end, 0, 0], "lengths": [entry.length for entry in entries]}
    rows.update(change.get("rows", {}))
    packed = b"\x00" + varints([*chain.from_iterable(rows.values())])
    fields = {key: value for key, value in change.items() if key != "rows"}

    try:
        reader = Reader(edit_chunk(b"indx", lambda index: edit_map(index, **{"entries": packed, **fields}), data))
    except LimitError:
        return
    assert verify(reader)
    for i in range(len(reader.gops)):
        with suppress(CorruptFileError):
            assert same(reader.gop(i), GOPS[i])


def test_the_layout_of_the_index_is_the_documented_one() -> None:
    data = write(packets=[])
    entries = Reader(data).gops
    index = load(next(payload for kind, payload in split(data) if kind == b"indx"))
    rows = {**GOOD_ROWS, "gaps": [Reader(data).sizes["model"], 0, 0], "lengths": [entry.length for entry in entries]}
    assert index == {
        "gops": 3,
        "coders": ["engine"],
        "codes_bytes": 65,
        "audio_bytes": 0,
        "source_bytes": 123_456,
        "entries": b"\x00" + varints([*chain.from_iterable(rows.values())]),
    }


@pytest.mark.parametrize("target", [0, 32, 2**63, 2**64 - 1])
def test_a_tail_that_points_elsewhere(target: int) -> None:
    data = write()[:-24] + chunk(b"tail", struct.pack("<Q", target))
    assert survivors(data) == [0, 1, 2]
    assert Reader(data).damage


def test_wrong_counts_in_a_gop() -> None:
    coded = edit_chunk(b"GOPC", lambda gop: gop[:8] + struct.pack("<I", 1) + gop[12:])
    with pytest.raises(CorruptFileError, match="GOP 0"):
        Reader(coded).gop(0)
    side = edit_chunk(b"GOPC", lambda gop: gop[:16] + struct.pack("<I", 500) + gop[20:])
    with pytest.raises(CorruptFileError, match="side map"):
        Reader(side).gop(0)
    with pytest.raises(LimitError, match="side map"):
        Reader(edit_chunk(b"GOPC", lambda gop: gop[:16] + b"\xff" * 4 + gop[20:])).gop(0)
    short = Reader(edit_chunk(b"GOPC", lambda _: b"short"))
    assert short.gops == []
    assert any("shorter than its fixed fields" in problem for problem in short.damage)


# Reading from many places, and quickly.


def read_crc(reader: Reader) -> int:
    return sum(zlib.crc32(reader.gop(i).payload) for i in range(len(reader.gops)))


def test_reading_after_fork_and_from_threads(tmp_path: Path) -> None:
    path = tmp_path / "a.pac"
    gops = [make_gop(4 * i, start=12000 * i, payload=os.urandom(5000)) for i in range(40)]
    path.write_bytes(write(gops))
    with Reader(path) as reader:
        expected = read_crc(reader)
        context = multiprocessing.get_context("fork")
        results = context.SimpleQueue()
        children = [context.Process(target=lambda: results.put(read_crc(reader))) for _ in range(3)]
        for child in children:
            child.start()
        assert [read_crc(reader), *(results.get() for _ in children)] == [expected] * 4
        for child in children:
            child.join()
        assert threading.active_count() == 1
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(read_crc, [reader] * 8)) == [expected] * 8


def test_opening_reads_the_ends_only(tmp_path: Path) -> None:
    path = tmp_path / "a.pac"
    with path.open("wb") as file:
        writer = Writer(file, HEADER)
        for i in range(1000):
            writer.add_gop(make_gop(4 * i, start=12000 * i, payload=bytes(20_000)))
        writer.close()
    tracemalloc.start()
    with Reader(path) as reader:
        assert reader.frames == 4000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


def test_imports_neither_torch_nor_av() -> None:
    code = "import sys, pacodec.container; print(sorted({'torch', 'av', 'cv2'} & set(sys.modules)))"
    output = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"
