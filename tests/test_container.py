"""The .pac container: what is written comes back, as a file or as a stream, whole or in part."""

import io
import multiprocessing
import os
import struct
import subprocess
import sys
import threading
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pytest
from containers import (
    GOOD_ROWS,
    GOPS,
    HEADER,
    MODEL,
    PACKETS,
    Pipe,
    edit_chunk,
    edit_map,
    join,
    make_gop,
    pipe,
    preamble,
    read_stream,
    same,
    split,
    survivors,
    varints,
    with_side,
    write,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from pacodec.common.media import AudioPacket
from pacodec.container import (
    MAX_PTS,
    Component,
    Gop,
    Reader,
    StreamReader,
    Writer,
    verify,
)
from pacodec.errors import (
    CorruptFileError,
    FileAccessError,
    UnsupportedError,
    UsageError,
)

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
    assert sizes["model"] == len(MODEL) + 16 + len(MODEL) // 32 + 1 + 16
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


# Reading from many places, and quickly.


def read_crc(reader: Reader) -> int:
    return sum(zlib.crc32(reader.gop(i).payload) for i in range(len(reader.gops)))


def test_reading_after_fork_and_from_threads(tmp_path: Path) -> None:
    path = tmp_path / "a.pac"
    gops = [make_gop(4 * i, start=12000 * i, payload=os.urandom(5000)) for i in range(40)]
    path.write_bytes(write(gops))
    threads = threading.active_count()
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
        assert threading.active_count() == threads
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
