"""Files made to take memory are refused in one line, or take little; see `hostile.py` for what they are."""

import zlib

import hostile
import numpy as np
import pytest
from conftest import make_model

import pacodec
from pacodec import limits
from pacodec.autoencoders import neural
from pacodec.common.media import GridSpec
from pacodec.container import Reader, StreamReader
from pacodec.decoder import Decoder
from pacodec.engine import State
from pacodec.errors import CorruptFileError, LimitError, UsageError
from pacodec.models.files import ModelFile

CASES = dict(hostile.cases())


@pytest.fixture(scope="module")
def commands():
    with hostile.Commands() as running:
        yield running


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_file_takes_little_memory(name, commands, tmp_path):
    case, path = CASES[name], tmp_path / "hostile.pac"
    path.write_bytes(case.data)
    allowed = {"info": (0, *hostile.REFUSED), "pictures" if case.decodes else "verify": case.codes}
    for command, codes in allowed.items():
        done = commands.run(command, path)
        lines = [line for line in done.text.splitlines() if line]
        assert done.code in codes, (command, done)
        assert len(lines) == (done.code not in (0, 3)) or done.code == 3, lines
        assert all(line.startswith("pacodec: ") for line in lines[:1]), lines
        assert "memory error" not in done.text.lower()
        assert "out of memory" not in done.text
        assert 0 < done.peak < hostile.ALLOWED, (command, done)


def test_the_bound_on_address_space_is_in_force(commands, tmp_path, monkeypatch):
    """A picture that is refused, unless the user allows more memory than the system does."""
    path = tmp_path / "large.pac"
    head = hostile.header(8192, 8192, 4)
    path.write_bytes(hostile.file(head, hostile.zstd_of(head.grid.size), 1, crc=zlib.crc32(bytes(head.grid.size))))
    assert commands.run("pictures", path).code == LimitError.exit_code
    monkeypatch.setenv(limits.MEMORY_VARIABLE, "100000")
    with hostile.Commands() as generous:
        assert generous.run("pictures", path).code == hostile.OUT_OF_MEMORY


def test_more_memory_can_be_allowed_or_less(monkeypatch, tmp_path):
    path = tmp_path / "large.pac"
    path.write_bytes(hostile.file(hostile.header(512, 512), hostile.zstd_of(1 << 18), 1))
    with Decoder(path) as video, pytest.raises(CorruptFileError, match="checksum"):
        video[0]
    monkeypatch.setenv(limits.MEMORY_VARIABLE, "4")
    with (
        Decoder(path) as video,
        pytest.raises(LimitError, match=r"takes \d+ MiB of memory, allowed are 4; set PACODEC_"),
    ):
        video[0]
    monkeypatch.setenv(limits.MEMORY_VARIABLE, "4 GiB")
    with Decoder(path) as video, pytest.raises(UsageError, match="not a number of MiB"):
        video[0]


def test_pixels_of_a_file_are_bounded(monkeypatch, tmp_path):
    path = tmp_path / "long.pac"
    still = hostile.file(hostile.header(2048, 2048), hostile.zstd_of(1 << 22), 65536, gops=20, still=True)
    path.write_bytes(still)
    with pytest.raises(LimitError, match=r"1310720 frames of 2048x2048 are more .*; set PACODEC_PIXELS to allow more"):
        pacodec.verify(path)
    monkeypatch.setenv(limits.PIXELS_VARIABLE, "6000000")
    with Decoder(path) as video, pytest.raises(CorruptFileError, match="checksum"):
        video[0]
    monkeypatch.setenv(limits.PIXELS_VARIABLE, "lots")
    with pytest.raises(UsageError, match="not a number of millions of pixels"):
        pacodec.verify(path)


def test_frames_that_change_are_bounded_by_the_size_of_the_file(monkeypatch, tmp_path):
    path = tmp_path / "long.pac"
    path.write_bytes(hostile.file(hostile.header(1024, 1024), b"\0", 65536, gops=2))
    message = r"131072 coded frames of 1048576 pixels are more than .* of a file of \d+ bytes; set PACODEC_PIXELS"
    with pytest.raises(LimitError, match=message):
        pacodec.verify(path)
    with Decoder(path) as video, pytest.raises(LimitError, match=message):
        video[0]
    with path.open("rb") as file, pytest.raises(LimitError, match=message):
        list(StreamReader(file))
    monkeypatch.setenv(limits.PIXELS_VARIABLE, "200000")
    assert len(pacodec.verify(path)) == 2
    with path.open("rb") as file:
        assert len(list(StreamReader(file))) == 2


def test_as_many_frames_that_repeat_are_let_pass(tmp_path):
    """A long recording of a still screen is nothing uncommon."""
    path, codes = tmp_path / "still.pac", bytes(1 << 20)
    still = hostile.file(
        hostile.header(1024, 1024), hostile.zstd_of(len(codes)), 65536, gops=2, still=True, crc=zlib.crc32(codes)
    )
    path.write_bytes(still)
    assert pacodec.verify(path) == []


def test_what_cannot_be_read_is_not_written(monkeypatch):
    monkeypatch.setenv(limits.MEMORY_VARIABLE, "8")
    with pytest.raises(LimitError, match=r"4x2048x2048 takes \d+ MiB"):
        State.fresh(GridSpec(4, 2048, 2048, ordinal=False))


def test_large_pictures_cost_threads():
    assert limits.affordable(16, limits.memory() // 2) == 16
    assert limits.affordable(2, limits.memory() // 2 + 1) == 1
    assert limits.affordable(16, limits.memory()) == 8
    assert limits.affordable(1, limits.memory() * 2) == 1


def test_a_moment_of_a_very_long_file_needs_no_more_of_it(tmp_path):
    """1500 GOPs of 65536 frames, of which only those are looked at that are asked for."""
    path = tmp_path / "long.pac"
    path.write_bytes(CASES["10^8 frames"].data)
    read = []
    original = Reader.gop

    class Counting(Reader):
        def gop(self, i):
            read.append(i)
            return original(self, i)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pacodec.gop.indexed_video.Reader", Counting)
        with Decoder(path) as video:
            assert len(video) == 1500 * 65536
            pictures = video.frames_between(65536 / 25 * 700, 65536 / 25 * 700 + 0.04)
            with pytest.raises(CorruptFileError):
                list(pictures)
    assert set(read) <= {699, 700, 701}


@pytest.mark.parametrize(("arch", "height", "width"), [("conv4", 72, 40), ("conv5", 130, 50), ("conv4", 17, 33)])
def test_strips_make_the_same_picture(arch, height, width, tmp_path, monkeypatch, one_thread):
    transform = neural.NeuralTransform(ModelFile.read(make_model(tmp_path / "a.pacmodel", arch, {})), "cpu")
    latents = np.random.default_rng(3).random((2, *transform.grid(height, width)), np.float32)
    whole = transform.synthesise(latents, height, width).astype(np.int16)
    for pixels in (1, 1500):
        monkeypatch.setattr(neural, "BATCH_PIXELS", pixels)
        strips = transform.synthesise(latents, height, width)
        assert strips.shape == (2, height, width, 3)
        assert np.abs(strips - whole).max() <= 1
    assert whole.std() > 1
