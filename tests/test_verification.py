"""`verify` finds what no picture can be made of."""

import numpy as np
import pytest
from authored import GREYS, authored
from conftest import cli

import pacodec
from pacodec.autoencoders import AUTOENCODERS
from pacodec.autoencoders.registry import ARCHITECTURES
from pacodec.common.zstd_frames import StreamReader, stream_compressor
from pacodec.container import Reader
from pacodec.errors import CorruptFileError
from pacodec.models.files import ModelFile


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


def test_a_quantizer_whose_bytes_do_not_fit_the_grid_ends_in_no_traceback(zoo, tmp_path):
    path = tmp_path / "a.pac"
    codes = np.full((2, 3, 6, 7), 255, np.uint8)
    model = ModelFile.read(zoo / "conv4.pacmodel")
    path.write_bytes(authored([codes], transform="conv4", parameters={}, quantizer="none", model=model, ordinal=True))
    assert cli("verify", path).exit_code in (0, 3)
    assert cli("decode", path, tmp_path / "out.mkv").exit_code == 3


def compressed(data: bytes) -> bytes:
    compressor = stream_compressor(19)
    return compressor.compress(data) + compressor.flush()


# --- one zstd frame ---


def test_a_reader_wants_one_frame_and_nothing_else():
    content = bytes(range(256)) * 2000 + bytes(300_000)
    frame = compressed(content)
    empty = compressed(b"")
    skippable = b"\x50\x2a\x4d\x18\x02\0\0\0ab"

    def read(payload: bytes) -> None:
        reader = StreamReader(payload)
        assert reader.read(len(content)) == content
        reader.finish()

    read(frame)
    halves = compressed(content[:1000]) + compressed(content[1000:])
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


# --- the index ---


def test_a_damaged_gop_does_not_make_a_good_index_doubtful():
    data = bytearray(authored([grids(1, 2), grids(3), grids(4, 5)]))
    with Reader(bytes(data)) as good:
        entry = good.gops[1]
        for at in (entry.offset + 2, entry.offset + 12, entry.offset + 21, entry.chunk.end - 1):
            broken = data.copy()
            broken[at] ^= 1
            with Reader(bytes(broken)) as reader:
                assert reader.gops == good.gops
                assert reader.damage == []
                with pytest.raises(CorruptFileError, match="GOP 1"):
                    reader.gop(1)
                reader.gop(2)


def test_an_unknown_transform_or_coder_is_not_supported(tmp_path):
    path = tmp_path / "a.pac"
    path.write_bytes(authored([grids(1, 2)], transform="oracle"))
    assert cli("verify", path).exit_code == 4
    path.write_bytes(authored([grids(1, 2)], coder="oracle"))
    result = cli("verify", path)
    assert result.exit_code == 3
    assert "the coder 'oracle' is unknown" in result.stdout
    assert cli("decode", path, tmp_path / "out.mkv").exit_code == 4
