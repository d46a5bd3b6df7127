"""FORMAT.md describes files: a plain reader that follows it finds what pacodec finds."""

from pathlib import Path

import numpy as np
import pytest
from authored import GREYS, authored
from conftest import colourful, make_video, screen
from independent.files import PacFile

import pacodec


def check(path: Path) -> PacFile:
    """Read a file both ways; the independent reader."""
    file = PacFile(path.read_bytes())
    found = file.video()
    with pacodec.open(path) as video:
        np.testing.assert_array_equal(found.pictures, np.stack(video[:]))
        np.testing.assert_allclose([float(time) for time in found.times], video.times())
    return file


@pytest.mark.parametrize("effort", [1, 2])
def test_footage_of_few_colours_with_repeats(tmp_path, effort):
    source = make_video(tmp_path / "in.mp4", [screen(number * 2 // 3, 24, 16) for number in range(14)])
    pacodec.encode(str(source), str(tmp_path / "out.pac"), gop_seconds=0.2, effort=effort)
    header = check(tmp_path / "out.pac").header
    assert header["transform"]["name"] == "palette"
    assert bool(header.get("reference")) == (effort == 2)


def test_lossless_footage_of_many_colours(tmp_path):
    source = make_video(tmp_path / "in.mp4", colourful(3, 12, 10))
    pacodec.encode(str(source), str(tmp_path / "out.pac"), lossless=True)
    assert check(tmp_path / "out.pac").header["transform"]["name"] == "shades"


@pytest.mark.parametrize("coder", ["engine", "none"])
@pytest.mark.parametrize("step", [1, 3])
def test_corrections(tmp_path, coder, step):
    rng = np.random.default_rng(step)
    codes = rng.integers(0, 128, (4, 4, 5, 6), np.uint8)
    data = authored([codes[:2], codes[2:]], coder=coder, parameters={"palette": GREYS, "correction_step": step})
    (tmp_path / "in.pac").write_bytes(data)
    check(tmp_path / "in.pac")
