"""Where GOPs are cut, and what those of a long recording learn from one another."""

import numpy as np
import pytest
from conftest import cli, make_video, run, screen

import pacodec
from pacodec.container import Reader

RNG = np.random.default_rng(11)
SPRITES = RNG.integers(0, 16, (6, 24, 24, 1), np.uint8) * np.array([15, 9, 3], np.uint8)


def game(frames, side=160, sprites=5):
    """Sprites that jump about on a background: each frame is new, and nothing in it is."""
    rng = np.random.default_rng(0)
    ground = np.kron(SPRITES[0][:16, :16, 0], np.ones((side // 16, side // 16), np.uint8))
    pictures = []
    for _ in range(frames):
        picture = np.repeat(ground[..., None], 3, 2)
        for sprite in SPRITES[rng.integers(1, 6, sprites)]:
            top, left = rng.integers(0, side - 24, 2)
            picture[top : top + 24, left : left + 24] = sprite
        pictures.append(picture)
    return pictures


FRAMES = 120
SHORT = {"gop_seconds": 0.6, "coder": "engine"}
"""So that the clip has several GOPs, and no other way is tried."""


def short_game():
    return game(FRAMES, side=96, sprites=2)


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """A clip of eight short GOPs."""
    return make_video(tmp_path_factory.mktemp("long") / "game.mkv", short_game())


def test_a_slide_show_is_one_gop(tmp_path):
    slides = [screen(7 * n) for n in range(12)]
    source = make_video(tmp_path / "in.mkv", [slides[n // 50] for n in range(600)], rate=10)
    report = pacodec.encode(str(source), str(tmp_path / "out.pac"))
    assert (report.gops, report.frames, report.repeats) == (1, 600, 588)


def test_footage_that_changes_much_is_cut_so_that_a_frame_is_soon_reached(tmp_path):
    source = make_video(tmp_path / "in.mkv", game(230))
    assert pacodec.encode(str(source), str(tmp_path / "out.pac"), effort=1, coder="engine").gops == 2


def test_no_gop_is_longer_than_asked(screens, tmp_path):
    report = pacodec.encode(str(screens), str(tmp_path / "out.pac"), gop_seconds=0.4)
    assert report.gops == 3
    with Reader(tmp_path / "out.pac") as reader:
        assert [entry.frames for entry in reader.gops] == [10, 10, 4]


@pytest.fixture(scope="module")
def referring(long):
    """The clip with some of its GOPs as reference of the others."""
    target = long.with_suffix(".pac")
    return pacodec.encode(str(long), str(target), verify=True, **SHORT), target


def test_gops_of_a_long_recording_learn_from_some_of_them(long, referring, tmp_path):
    report, target = referring
    alone = pacodec.encode(str(long), str(tmp_path / "alone.pac"), effort=1, **SHORT)
    assert report.coders["reference"] >= 1
    assert "reference" not in alone.coders
    assert report.bytes < 0.9 * alone.bytes
    pictures = short_game()
    with pacodec.open(target) as video:
        np.testing.assert_array_equal(video[:], pictures)
        for n in (FRAMES - 1, 3, 57, 0, 80):
            np.testing.assert_array_equal(video[n], pictures[n])


def test_the_same_bytes_for_any_number_of_jobs(long, referring, tmp_path):
    _, target = referring
    pacodec.encode(str(long), str(tmp_path / "out.pac"), jobs=1, **SHORT)
    assert (tmp_path / "out.pac").read_bytes() == target.read_bytes()


def test_an_interrupted_run_goes_on_with_the_same_reference(long, referring, tmp_path):
    class Stop(Exception):
        pass

    def stop(done, total):
        if done > FRAMES - 20:
            raise Stop

    _, target = referring
    out = tmp_path / "out.pac"
    with pytest.raises(Stop):
        pacodec.encode(str(long), str(out), resume=True, jobs=1, progress=stop, **SHORT)
    with Reader(tmp_path / "out.pac.part") as reader:
        assert len(reader.gops) > 0
    pacodec.encode(str(long), str(out), resume=True, **SHORT)
    assert out.read_bytes() == target.read_bytes()


def test_a_damaged_byte_of_the_reference_costs_nothing(referring, tmp_path):
    _, target = referring
    data = bytearray(target.read_bytes())
    with Reader(bytes(data)) as reader:
        at = reader.head_end + reader.sizes["reference"] // 2
    data[at] ^= 0x10
    path = tmp_path / "bad.pac"
    path.write_bytes(data)
    assert cli("verify", path).exit_code == 3
    with pacodec.open(path) as video:
        np.testing.assert_array_equal(video[-1], short_game()[-1])
    assert cli("decode", path, tmp_path / "out.mkv").exit_code == 0


def test_from_a_pipe_the_reference_is_there_too(referring, tmp_path):
    _, target = referring
    done = run("decode", "-", tmp_path / "out.mkv", "--lossless", input=target.read_bytes())
    assert done.returncode == 0, done.stderr


def test_a_reference_that_is_lost_is_said_so(referring, tmp_path):
    _, target = referring
    data = bytearray(target.read_bytes())
    with Reader(bytes(data)) as reader:
        at = reader.head_end + 12
    data[at] ^= 1
    data[at + 900] ^= 1
    path = tmp_path / "bad.pac"
    path.write_bytes(data)
    result = cli("decode", path, tmp_path / "out.mkv", "--keep-going")
    assert result.exit_code == 3
    assert "the reference of its GOPs is damaged" in result.stderr
