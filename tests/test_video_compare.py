"""`pacodec compare`, and outputs of `encode` that would bury something else."""

import json
from fractions import Fraction

import numpy as np
import pytest
from conftest import cli, leftovers, make_video, screen

from pacodec.common.media import VideoFormat
from pacodec.video.writer import VideoWriter


def decibels(a, b):
    return 10 * np.log10(255**2 / np.mean((np.float64(a) - np.float64(b)) ** 2))


def compared(*arguments):
    result = cli("compare", *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A clip, the same with one frame changed, the same but shorter, and the clip as .pac."""
    folder = tmp_path_factory.mktemp("compare")
    pictures = [screen(number) for number in range(10)]
    other = [rgb.copy() for rgb in pictures]
    other[7][4:9, 5:20] ^= 60
    for name, footage in (("a", pictures), ("b", other), ("short", pictures[:6])):
        make_video(folder / f"{name}.mkv", footage)
    assert cli("encode", folder / "a.mkv", folder / "a.pac").exit_code == 0
    return folder, pictures, other


def test_pooled_psnr_and_the_worst_frame(clips):
    folder, pictures, other = clips
    found = compared(folder / "a.mkv", folder / "b.mkv")
    assert found["frames"] == 10
    assert found["psnr"] == pytest.approx(decibels(pictures, other))
    assert found["worst_psnr"] == pytest.approx(decibels(pictures[7], other[7]))
    assert found["worst_frame"] == 7
    assert [value is None for value in found["frame_psnr"]] == [number != 7 for number in range(10)]
    assert [value == 1 for value in found["frame_ssim"]] == [number != 7 for number in range(10)]
    assert 0 < found["ssim"] < 1
    assert not found["exact"]
    assert f"{found['psnr']:.2f} dB" in cli("compare", folder / "a.mkv", folder / "b.mkv").stdout


def test_a_pac_file_against_its_source(clips):
    folder, _, _ = clips
    found = compared(folder / "a.mkv", folder / "a.pac", "--no-ssim")
    assert (found["exact"], found["psnr"], found["ssim"], found["time_difference"]) == (True, None, None, 0)
    assert cli("compare", folder / "a.pac", folder / "a.mkv").stdout.startswith("10 frames: exact")


def test_frames_that_one_lacks_and_times_that_differ(clips, tmp_path):
    folder, pictures, _ = clips
    found = compared(folder / "a.mkv", folder / "short.mkv")
    assert (found["frames"], found["exact"], found["only_first"], found["only_second"]) == (6, True, 4, 0)
    assert "a.mkv has 4 frames more" in cli("compare", folder / "short.mkv", folder / "a.mkv").stdout
    with VideoWriter(tmp_path / "late.mkv", VideoFormat(48, 32, Fraction(1, 100)), codec="lossless") as writer:
        for number, rgb in enumerate(pictures):
            writer.write_frame(rgb, 4 * number + 3 * (number == 5), 1)
    assert compared(folder / "a.mkv", tmp_path / "late.mkv")["time_difference"] == pytest.approx(0.03)


def test_what_cannot_be_compared(clips, tmp_path):
    folder, _, _ = clips
    make_video(tmp_path / "large.mkv", [screen(0, 64, 48)])
    (tmp_path / "text.mkv").write_text("no video")
    for name, code, word in (("large.mkv", 2, "48x32 and 64x48"), ("text.mkv", 3, "text.mkv"), ("no.mkv", 1, "no.mkv")):
        result = cli("compare", folder / "a.mkv", tmp_path / name)
        assert (result.exit_code, result.stderr.count("\n")) == (code, 1)
        assert word in result.stderr


# --- encode over something else ---


@pytest.mark.parametrize("name", ["b.mp4", "B.MKV", "b.gif", "b.png"])
@pytest.mark.parametrize("exists", [True, False])
def test_a_video_is_not_buried_under_a_pac_file(name, exists, clips, tmp_path):
    folder, _, _ = clips
    if exists:
        (tmp_path / name).write_bytes((folder / "b.mkv").read_bytes())
    result = cli("encode", folder / "a.mkv", tmp_path / name, "-y")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert str(tmp_path / name) in result.stderr
    assert leftovers(tmp_path) == [name] * exists
    assert not exists or (tmp_path / name).read_bytes() == (folder / "b.mkv").read_bytes()


def test_other_names_are_free_unless_another_file_has_them(clips, tmp_path):
    folder, _, _ = clips
    (tmp_path / "empty").touch()
    for name in ("clip", "clip", "empty", "take.2"):
        assert cli("encode", folder / "a.mkv", tmp_path / name, "-y").exit_code == 0
    (tmp_path / "notes").write_bytes((folder / "b.mkv").read_bytes())
    result = cli("encode", folder / "a.mkv", tmp_path / "notes", "-y")
    assert result.exit_code == 2
    assert "notes: is there, and not a .pac file" in result.stderr
    (tmp_path / "named.pac").write_text("damaged, but called one")
    assert cli("encode", folder / "a.mkv", tmp_path / "named.pac", "-y").exit_code == 0
