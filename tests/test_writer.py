"""Writing frames as they come, and reading them back in the shape that they had."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import cli, leftovers, screen
from numpy.typing import NDArray

import pacodec
from pacodec.errors import CorruptFileError, FileAccessError, LimitError, UsageError

SHAPES = [
    (84, 84),
    (24, 32, 3),
    (24, 32, 1),
    (4, 20, 28),
    (20, 28, 4),
    (3, 24, 32, 3),
    (2, 3, 20, 20),
    (5, 20, 28, 2),
    (128,),
    (),
]


def moving(shape: tuple[int, ...], frames: int = 12) -> list[NDArray[np.uint8]]:
    """Arrays of many values of which a few change at a time."""
    rng = np.random.default_rng(len(shape))
    array = rng.integers(0, 256, shape, dtype=np.uint8)
    made = []
    for _ in range(frames):
        array = array.copy()
        array.reshape(-1)[rng.integers(0, array.size, 3)] = rng.integers(0, 256, 3)
        made.append(array)
    return made


def write(target: Path, frames: list[NDArray[np.uint8]], **options: object) -> pacodec.EncodeReport:
    with pacodec.Writer(target, **options) as writer:  # type: ignore[arg-type]
        for frame in frames:
            writer.write(frame)
    return writer.close()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_arrays_of_any_shape_come_back(tmp_path: Path, shape: tuple[int, ...]) -> None:
    frames = moving(shape)
    report = write(tmp_path / "x.pac", frames, fps=15)
    back = list(pacodec.read_arrays(tmp_path / "x.pac"))
    assert [array.shape for array in back] == [shape] * len(frames)
    assert all(np.array_equal(*pair) for pair in zip(frames, back, strict=True))
    assert report.exact
    assert report.frames == len(frames)
    metadata = pacodec.info(tmp_path / "x.pac")
    assert metadata.array == shape
    assert metadata.fps == 15
    assert leftovers(tmp_path) == ["x.pac"]


def test_a_part_of_the_arrays(tmp_path: Path) -> None:
    frames = moving((20, 30))
    write(tmp_path / "x.pac", frames)
    assert np.array_equal(list(pacodec.read_arrays(tmp_path / "x.pac", 3, -2)), frames[3:-2])


def test_arrays_of_a_file_that_no_writer_made_are_its_pictures(screens_pac: Path) -> None:
    assert np.array_equal(next(pacodec.read_arrays(screens_pac)), screen(0))


def test_rgb_frames_are_pictures_to_everybody(tmp_path: Path) -> None:
    frames = [screen(number) for number in range(30)]
    write(tmp_path / "x.pac", frames)
    with pacodec.open(tmp_path / "x.pac") as video:
        assert np.array_equal(video[:], frames)
    assert cli("verify", tmp_path / "x.pac").exit_code == 0
    assert '"array": [32, 48, 3]' in cli("info", tmp_path / "x.pac", "--json").stdout


def test_more_colours_than_have_labels(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    few = [screen(number, 160, 120) for number in range(6)]
    many = [rng.integers(0, 256, (120, 160, 3), dtype=np.uint8) for _ in range(4)]
    report = write(tmp_path / "x.pac", few + many)
    assert report.exact
    assert np.array_equal(list(pacodec.read_arrays(tmp_path / "x.pac")), few + many)
    assert leftovers(tmp_path) == ["x.pac"]


def test_what_is_not_to_be_exact(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    frames = [rng.integers(0, 256, (24, 32, 3), dtype=np.uint8) for _ in range(3)]
    exact = write(tmp_path / "exact.pac", frames)
    report = write(tmp_path / "x.pac", frames, lossless=False, quality=1, coder="engine")
    assert not report.exact
    assert report.bytes < exact.bytes


def test_the_frame_may_be_changed_after_it_was_written(tmp_path: Path) -> None:
    frame = np.zeros((20, 20), np.uint8)
    with pacodec.Writer(tmp_path / "x.pac") as writer:
        for value in range(10):
            frame[...] = value
            writer.write(frame)
    assert [int(array[0, 0]) for array in pacodec.read_arrays(tmp_path / "x.pac")] == [*range(10)]


def test_an_exception_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with pacodec.Writer(tmp_path / "x.pac") as writer:
            for frame in moving((50, 50)):
                writer.write(frame)
            raise KeyError("of the caller")

    with pytest.raises(KeyError):
        interrupted()
    assert leftovers(tmp_path) == []


def test_a_cancelled_file_has_no_report(tmp_path: Path) -> None:
    writer = pacodec.Writer(tmp_path / "x.pac")
    writer.write(np.zeros((20, 20), np.uint8))
    writer.cancel()
    with pytest.raises(UsageError, match="given up"):
        writer.close()
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("ending", ["sys.exit()", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_program_that_ends_without_closing_leaves_nothing(tmp_path: Path, ending: str) -> None:
    script = f"""
import os, signal, sys
import numpy as np
import pacodec
writer = pacodec.Writer({str(tmp_path / "x.pac")!r})
for number in range(3000):
    writer.write(np.full((50, 50), number % 256, np.uint8))
{ending}
"""
    code = subprocess.run([sys.executable, "-P", "-c", script], timeout=120, check=False).returncode
    assert code in (0, -signal.SIGKILL)
    until = time.monotonic() + 60
    while leftovers(tmp_path) and time.monotonic() < until:
        time.sleep(0.1)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("frames", "error", "message"),
    [
        ([np.zeros((4, 4))], UsageError, "uint8"),
        ([np.zeros((4, 0), np.uint8)], UsageError, "cannot be stored"),
        ([np.zeros((1,) * 9, np.uint8)], UsageError, "cannot be stored"),
        ([np.zeros(20_000, np.uint8)], LimitError, "width"),
        ([np.zeros((4, 4), np.uint8), np.zeros((4, 5), np.uint8)], UsageError, "shape"),
        ([], UsageError, "no frame"),
    ],
)
def test_what_cannot_be_written(
    tmp_path: Path, frames: list[NDArray[np.uint8]], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        write(tmp_path / "x.pac", frames)
    assert leftovers(tmp_path) == []


def test_targets_that_are_refused_before_a_frame_is_made(tmp_path: Path) -> None:
    (tmp_path / "x.pac").write_bytes(b"")
    with pytest.raises(FileAccessError, match="exists"):
        pacodec.Writer(tmp_path / "x.pac")
    with pytest.raises(FileAccessError, match="folder"):
        pacodec.Writer(tmp_path / "none" / "x.pac")
    with pytest.raises(UsageError, match="suffix"):
        pacodec.Writer(tmp_path / "x.mp4")
    with pytest.raises(UsageError, match="lossless"):
        pacodec.Writer(tmp_path / "y.pac", quality=3)
    write(tmp_path / "x.pac", moving((8, 8)), overwrite=True)
    assert len(list(pacodec.read_arrays(tmp_path / "x.pac"))) == 12


def test_what_goes_wrong_with_the_encoding_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    writer = pacodec.Writer(folder / "x.pac")
    folder.rmdir()
    writer.write(np.zeros((8, 8), np.uint8))
    with pytest.raises(FileAccessError, match="gone"):
        writer.close()


def test_a_shape_that_does_not_make_the_pictures_is_damage(tmp_path: Path) -> None:
    write(tmp_path / "x.pac", moving((8, 8)))
    from pacodec.container import Reader, Writer

    with Reader(tmp_path / "x.pac") as reader, (tmp_path / "y.pac").open("wb") as file:
        object.__setattr__(reader.header.video, "array", (9, 9))
        writer = Writer(file, reader.header)
        writer.add_gop(reader.gop(0))
        writer.close()
    with pytest.raises(CorruptFileError, match=r"\(9, 9\)"):
        list(pacodec.read_arrays(tmp_path / "y.pac"))
