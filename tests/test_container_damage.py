"""The .pac container: what is damaged does no harm beyond itself."""

import io
from contextlib import suppress
from dataclasses import replace

import pytest
from containers import GOPS, HEADER, MODEL, PACKETS, pipe, read_stream, survivors, write
from hypothesis import given, settings
from hypothesis import strategies as st
from independent.files import embedded_model

from pacodec.container import (
    Component,
    Reader,
    StreamReader,
    Writer,
    describe_reference,
    verify,
)
from pacodec.errors import (
    CorruptFileError,
    LimitError,
    PacodecError,
    UnsupportedError,
)

# Damage.


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


@pytest.mark.parametrize("reference", [False, True])
def test_a_damaged_place_of_an_embedded_model_is_repaired(reference: bool) -> None:
    data = write_with_reference() if reference else write()
    with Reader(data) as reader:
        begin, size = data.index(MODEL) - 12, reader.sizes["model"]
    for position in range(begin, begin + size):
        broken = bytearray(data)
        broken[position] ^= 1 << position % 8
        with Reader(bytes(broken)) as reader:
            assert reader.model_bytes() == MODEL
            assert (len(reader.gops), reader.damage) == (3, [])
            assert verify(reader)
        stream, gops, _ = read_stream(bytes(broken))
        assert (stream.model_bytes(), len(gops)) == (MODEL, 3)
        assert embedded_model(bytes(broken)) == MODEL


def test_a_model_that_is_damaged_twice_is_named() -> None:
    data = bytearray(write())
    begin = data.index(MODEL)
    data[begin] ^= 1
    data[begin + 30] ^= 1
    reader = Reader(bytes(data))
    assert reader.model_bytes() is None
    assert any("modl" in line for line in reader.damage)
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
