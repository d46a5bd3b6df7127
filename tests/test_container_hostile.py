"""The .pac container: what is hostile is refused, in bounded memory and time."""

import os
import struct
import tracemalloc
import zlib
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import zstandard
from containers import (
    GOOD_ROWS,
    GOPS,
    HEADER,
    chunk,
    edit_chunk,
    edit_header,
    edit_map,
    load,
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

from pacodec.container import (
    Gop,
    Reader,
    StreamReader,
    verify,
)
from pacodec.errors import (
    CorruptFileError,
    FileAccessError,
    LimitError,
)

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
