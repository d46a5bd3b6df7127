"""`pacodec train`: a model is a recording of the footage that helps most, and makes other such footage smaller."""

import json

import numpy as np
import pytest
from conftest import cli, make_video

import pacodec
from pacodec.models.files import ModelFile
from pacodec.models.library import MODEL_FOLDER_VARIABLE
from pacodec.models.recording import model_palette, model_recording

pytestmark = pytest.mark.usefixtures("one_thread")

SIDE = 64


def play(frames, seed, noise=0):
    """A game of one sprite that walks about on a textured ground, pictures uint8 [64, 64, 3]."""
    world = np.random.default_rng(1)
    ground = world.integers(0, 6, (SIDE // 4, SIDE // 4)).repeat(4, 0).repeat(4, 1)
    sprite = world.integers(6, 12, (9, 9))
    colours = world.integers(0, 256, (12, 3), np.uint8)
    rng = np.random.default_rng(seed)
    grain = np.random.default_rng(seed + 100)
    at, pictures = np.array([20, 20]), []
    for _ in range(frames):
        at = (at + rng.integers(-3, 4, 2)).clip(0, SIDE - 9)
        codes = ground.copy()
        codes[at[0] : at[0] + 9, at[1] : at[1] + 9] = sprite
        picture = colours[codes].astype(int)
        if noise:
            picture += grain.integers(-noise, noise + 1, picture.shape)
        pictures.append(picture.clip(0, 255).astype(np.uint8))
    return pictures


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    return [str(make_video(folder / f"{seed}.mkv", play(80, seed))) for seed in range(4)]


@pytest.fixture(scope="module")
def model(clips, tmp_path_factory):
    """A model of the first three clips, and what training it reported."""
    target = tmp_path_factory.mktemp("model") / "game.pacmodel"
    said = []
    return pacodec.train(clips[:3], str(target), report=said.append), target, said


def test_what_is_learned_is_reported_beside_other_methods(model):
    report, target, said = model
    assert report.arch == "recording"
    assert (report.psnr, report.model_bytes) == (100, target.stat().st_size)
    assert {"recording", "engine alone", "zstd -19", "xz -9e", "x264 lossless", "WebP lossless"} == set(report.bits)
    assert report.bits["recording"] < report.bits["engine alone"]
    assert report.bits["recording"] < min(report.bits["zstd -19"], report.bits["xz -9e"])
    assert [point.segments for point in report.curve] == list(range(len(report.curve)))
    bits = [point.bits_per_frame for point in report.curve]
    assert len(bits) > 1
    assert bits == sorted(bits, reverse=True)
    assert any("bits a frame" in line for line in said)


def test_the_model_holds_what_it_says(model):
    report, target, _ = model
    found = ModelFile.read(target)
    recording = model_recording(found)
    assert len(model_palette(found)) == 12
    assert (recording.spec.height, recording.spec.width) == (SIDE, SIDE)
    assert len(recording.segments) == report.curve[-1].segments
    assert "clips" in found.info.training


def test_other_footage_of_its_kind_becomes_smaller(clips, model, tmp_path):
    _, target, _ = model
    alone = pacodec.encode(clips[3], str(tmp_path / "alone.pac"))
    with_model = pacodec.encode(clips[3], str(tmp_path / "out.pac"), model=str(target), verify=True)
    assert with_model.model == "game"
    assert with_model.bytes < 0.8 * alone.bytes
    with pacodec.open(tmp_path / "out.pac", model=str(target)) as video:
        np.testing.assert_array_equal(video[:], play(80, 3))
    assert cli("decode", tmp_path / "out.pac", tmp_path / "out.mkv").exit_code == 4


@pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 1}, {"quality": 2}, {"quality": 5}])
def test_any_quality_after_a_model(options, clips, model, tmp_path):
    _, target, _ = model
    report = pacodec.encode(clips[3], str(tmp_path / "out.pac"), model=str(target), verify=True, **options)
    if options.get("quality", 5) == 5:
        assert report.psnr == 100
    with pacodec.open(tmp_path / "out.pac", model=str(target)) as video:
        assert len(video[:]) == 80


def test_a_model_that_is_installed_is_found_for_its_footage_alone(clips, model, screens, monkeypatch, tmp_path):
    _, target, _ = model
    monkeypatch.setenv(MODEL_FOLDER_VARIABLE, str(target.parent))
    assert pacodec.encode(clips[3], str(tmp_path / "a.pac")).model == "game"
    assert pacodec.encode(str(screens), str(tmp_path / "b.pac")).model is None
    other = make_video(tmp_path / "other.mkv", [255 - picture for picture in play(30, 3)])
    assert pacodec.encode(str(other), str(tmp_path / "c.pac")).model is None


def test_a_model_of_another_size_lends_its_colours(clips, model, tmp_path):
    _, target, _ = model
    wide = [np.tile(picture, (1, 2, 1)) for picture in play(10, 3)]
    source = make_video(tmp_path / "wide.mkv", wide)
    pacodec.encode(str(source), str(tmp_path / "out.pac"), model=str(target), verify=True)
    with pacodec.open(tmp_path / "out.pac", model=str(target)) as video:
        np.testing.assert_array_equal(video[:], wide)


def test_the_file_may_carry_the_model(clips, model, tmp_path):
    _, target, _ = model
    pacodec.encode(clips[3], str(tmp_path / "out.pac"), model=str(target), embed_model=True)
    with pacodec.open(tmp_path / "out.pac") as video:
        np.testing.assert_array_equal(video[79], play(80, 3)[79])


def test_noisy_footage_gets_steady_codes_and_a_post_filter(tmp_path):
    clips = [str(make_video(tmp_path / f"{seed}.mkv", play(40, seed, noise=7))) for seed in range(3)]
    target = tmp_path / "noisy.pacmodel"
    report = pacodec.train(clips[:2], str(target))
    found = ModelFile.read(target)
    assert found.info.hyperparameters["noise"] > 0
    assert "postfilter" in found.arrays()
    assert report.psnr > 25
    coded = pacodec.encode(clips[2], str(tmp_path / "out.pac"), model=str(target), quality=3, verify=True)
    exact = pacodec.encode(clips[2], str(tmp_path / "exact.pac"), lossless=True, effort=1)
    assert coded.transform == "filtered"
    assert coded.bytes < exact.bytes / 10


def test_the_command_line(clips, tmp_path):
    target = tmp_path / "game.pacmodel"
    result = cli("train", *clips[:2], "-o", target, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["curve"]
    assert cli("train", *clips[:2], "-o", target).exit_code == 1  # it is there
    assert cli("train", *clips[:2], "-o", target, "-y", "--rank", 4).exit_code == 2


def test_clips_of_several_sizes_are_refused(clips, screens, tmp_path):
    result = cli("train", clips[0], screens, "-o", tmp_path / "out.pacmodel")
    assert result.exit_code == 2
    assert "--size" in result.stderr
