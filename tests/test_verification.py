"""`verify` finds what no picture can be made of, and an index that lies is replaced."""

import io
from dataclasses import replace

import numpy as np
import pytest
from conftest import cli
from vectors.making import surgery
from vectors.making.authored import GREYS, authored
from vectors.making.vectors import FOLDER, stored

import pacodec
from pacodec.container import Reader, StreamReader, verify
from pacodec.errors import CorruptFileError, UnsupportedError
from pacodec.grids import GridSpec
from pacodec.predictors import get_predictor
from pacodec.predictors.squeezed import BoundedReader, compress
from pacodec.transforms.names import AUTOENCODERS
from pacodec.transforms.registry import ARCHITECTURES


def test_the_names_of_autoencoders_are_those_of_the_architectures():
    assert set(AUTOENCODERS) == set(ARCHITECTURES)


# --- pictures ---


def grids(*values: int) -> np.ndarray:
    codes = np.zeros((len(values), 1, 6, 7), np.uint8)
    codes[:, 0, 5, 6] = values
    return codes


def test_a_single_code_without_a_colour_spoils_its_gop_alone(tmp_path):
    path = tmp_path / "a.pac"
    path.write_bytes(authored([grids(1, 2, 3), grids(127), grids(4, 128, 5), grids(6)]))
    (problem,) = pacodec.verify(path)
    assert problem.startswith(f"{path}: GOP 2 (frames 4 to 6)") or problem.startswith("GOP 2 (frames 4 to 6)")
    assert "palette" in problem
    assert cli("verify", path).exit_code == 3
    report = pacodec.decode(str(path), str(tmp_path / "out.mkv"), keep_going=True)
    assert report.frames < 8


def test_a_pair_that_names_no_shade_is_found(tmp_path):
    path = tmp_path / "a.pac"
    codes = np.zeros((2, 2, 6, 7), np.uint8)
    codes[0, 0] = 255  # an index alone is always a colour
    options = {"transform": "shades", "parameters": {"palette": GREYS[:6]}}
    path.write_bytes(authored([codes], **options))
    assert pacodec.verify(path) == []
    codes[1, :, 3, 3] = 255, 1
    path.write_bytes(authored([codes], **options))
    assert "shade" in pacodec.verify(path)[0]


def test_corrections_are_free(tmp_path):
    path = tmp_path / "a.pac"
    codes = np.full((2, 4, 6, 7), 255, np.uint8)
    codes[:, 0] = 127
    path.write_bytes(authored([codes], parameters={"palette": GREYS, "correction_step": 1}))
    assert pacodec.verify(path) == []


def test_a_quantizer_whose_bytes_do_not_fit_the_grid_raises_nothing_else(tmp_path):
    path = tmp_path / "a.pac"
    path.write_bytes(surgery.header(quantizer={"name": "none"}, grid={"channels": 3})(stored("valid/conv4-scale")))
    assert cli("verify", path).exit_code == 3


# --- one zstd frame ---


def test_a_reader_wants_one_frame_and_nothing_else():
    content = bytes(range(256)) * 2000 + bytes(300_000)
    frame = compress(content)
    empty = compress(b"")
    skippable = b"\x50\x2a\x4d\x18\x02\0\0\0ab"

    def read(payload: bytes) -> None:
        reader = BoundedReader(payload)
        assert reader.read(len(content)) == content
        reader.finish()

    read(frame)
    halves = compress(content[:1000]) + compress(content[1000:])
    for wrong in (
        halves,
        frame + empty,
        empty + frame,
        frame + skippable,
        skippable + frame,
        frame + b"\0",
        frame[:-1],
    ):
        with pytest.raises(CorruptFileError):
            read(wrong)


def test_the_first_grid_of_adaptive_is_one_frame_too():
    spec = GridSpec(1, 6, 7, ordinal=False)
    codes = grids(9)
    predictor = get_predictor("adaptive")
    encoder = predictor.encoder(spec)
    encoder.push(codes)
    payload = encoder.finish()
    frame = payload[4:]
    longer = frame + compress(b"")
    for data, fits in ((payload, True), (len(longer).to_bytes(4, "little") + longer, False)):
        if fits:
            np.testing.assert_array_equal(predictor.decoder(spec, data).pull(1), codes)
        else:
            with pytest.raises(CorruptFileError):
                predictor.decoder(spec, data).pull(1)


# --- the index ---

LYING = ["index-gop-shifted", "index-frames", "index-short"]
GOOD = Reader(stored("valid/palette"))


@pytest.mark.parametrize("name", [*LYING, "index-times"])
def test_gops_that_an_index_belies_are_all_there(name):
    with Reader(FOLDER / "uncommon" / f"{name}.pac") as reader:
        assert bool(reader.damage) == (name in LYING)
        for number, entry in enumerate(GOOD.gops):
            assert reader.gop(number).payload == GOOD.gop(number).payload
            assert reader.gops[number] == entry
        assert any("index" in line for line in reader.damage)
        assert not reader.truncated
        assert sum(reader.sizes.values()) == reader.source.size
        assert reader.sizes["index"] > 0
    with Reader(FOLDER / "uncommon" / f"{name}.pac") as reader:
        problems = verify(reader)
        assert any("index" in line for line in problems)
        assert len(reader.gops) == 3


def test_a_damaged_gop_does_not_make_a_good_index_doubtful():
    data = bytearray(stored("valid/palette"))
    entry = GOOD.gops[1]
    for at in (entry.offset + 2, entry.offset + 16, entry.offset + 25, entry.chunk.end - 1):
        broken = data.copy()
        broken[at] ^= 1
        with Reader(bytes(broken)) as reader:
            assert reader.gops == GOOD.gops
            assert reader.damage == []
            with pytest.raises(CorruptFileError, match="GOP 1"):
                reader.gop(1)
            reader.gop(2)


def test_wrong_times_beside_a_damaged_gop():
    data = bytearray((FOLDER / "uncommon" / "index-times.pac").read_bytes())
    data[GOOD.gops[2].chunk.end - 9] ^= 1
    with Reader(bytes(data)) as reader:
        with pytest.raises(CorruptFileError, match="GOP 2"):
            reader.gop(2)
        assert reader.gop(1).start == GOOD.gops[1].start
        assert reader.gops == GOOD.gops


def test_a_gop_with_other_times_that_overlap_is_damaged_and_not_the_index():
    moved = replace(GOOD.gop(1), pts=GOOD.gop(1).pts - 150)
    payload = b"".join(moved.to_payload())
    data = surgery.changed(stored("valid/palette"), "GOPC", lambda _: payload, 1)
    with Reader(data) as reader:
        for _ in range(2):
            with pytest.raises(CorruptFileError, match="GOP 1"):
                reader.gop(1)
        reader.gop(2)


# --- the tail ---


@pytest.mark.parametrize("length", [0, 5, 7])
def test_a_short_tail_is_damage(length):
    parts = surgery.split(stored("valid/palette"))
    good = stored("valid/palette")
    data = good[:-28] + surgery.chunk("tail", parts[-1][1][:length])
    with Reader(data) as reader:
        assert reader.gops == GOOD.gops
        assert any("tail" in line for line in reader.damage)
        assert verify(reader)
    stream = StreamReader(io.BytesIO(data))
    assert len(list(stream)) == 3
    assert any("tail" in line for line in stream.damage)


def test_an_unknown_transform_is_not_supported_whatever_its_model(tmp_path):
    path = tmp_path / "a.pac"
    for model in ({}, {"model": None}):
        path.write_bytes(surgery.header(transform={"name": "oracle"}, **model)(stored("valid/conv4-scale")))
        with pytest.raises(UnsupportedError, match="oracle"):
            pacodec.verify(path)
