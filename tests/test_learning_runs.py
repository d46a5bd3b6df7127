"""Whole trainings of the learned predictor on small clips: the model file, interruptions, the command line."""

import json

import av
import numpy as np
import pytest
import zstandard
from conftest import COLOURS, cli, make_video, screen
from stopping import Stopping

from pacodec.errors import CorruptFileError, UsageError
from pacodec.learning.batches import probe
from pacodec.learning.footage import load_codes
from pacodec.learning.loop import CHECKPOINT_SUFFIX, saved_plan
from pacodec.learning.phases import FLOATS, ROUNDED
from pacodec.learning.predictive import GEOMETRY
from pacodec.predictors.network import Geometry, IntegerNetwork
from pacodec.training import train
from pacodec.weights import ModelFile

pytestmark = pytest.mark.usefixtures("one_thread")


def record(path, numbers, width=48, height=32):
    make_video(path, [screen(number, width, height) for number in numbers])
    return str(path)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Four clips of 20 to 23 frames."""
    folder = tmp_path_factory.mktemp("plays")
    return [record(folder / f"{k}.mp4", range(5 * k, 5 * k + 20 + k)) for k in range(4)]


def start(clips, target, steps=8, **options):
    return train(clips, str(target), steps=steps, device="cpu", **options)


@pytest.fixture(scope="module")
def trained(clips, tmp_path_factory):
    """A model of the four clips, its report, and the progress messages."""
    target, messages = tmp_path_factory.mktemp("model") / "plays.pacmodel", Stopping()
    return target, start(clips, target, steps=40, report=messages), messages


def test_the_model_file_is_a_network_that_the_codec_runs(trained, clips):
    target, report, _ = trained
    model = ModelFile.read(target)
    assert model.info.arch == report.arch == "predictive"
    arrays, shape = model.arrays(), model.info.hyperparameters
    assert Geometry.from_hyperparameters(shape) == GEOMETRY
    IntegerNetwork(arrays, GEOMETRY)
    assert {tuple(colour) for colour in arrays["palette"].tolist()} <= {tuple(colour) for colour in COLOURS.tolist()}
    screens = zstandard.ZstdDecompressor().decompress(arrays["screens"].tobytes())
    assert len(screens) == np.prod(shape["screens"])
    assert shape["screens"][1:] == [32, 48]
    assert report.model_bytes == target.stat().st_size
    assert not target.with_name(target.name + CHECKPOINT_SUFFIX).exists()


def test_the_report_is_in_the_model_file(trained):
    target, report, _ = trained
    info = ModelFile.read(target).info
    assert info.quality["bits_per_frame"] == report.bits
    assert report.bits.keys() == {"predictive", "zstd -19", "xz", "x264 lossless"}
    assert all(bits > 0 for bits in report.bits.values())
    assert info.quality["psnr"] == report.psnr == pytest.approx(report.psnr_low)
    assert info.quality["frames"] == report.test_frames == 12
    assert info.quality["kbps"] == pytest.approx(
        report.bits["predictive"] * info.quality["frame_rate"] / 1000, rel=0.01
    )
    assert info.training["clips"] == 3
    assert info.training["frames"] == 20 + 21 + 22
    assert report.steps == 40
    assert report.code_values == 48 * 32


def test_training_learns(trained):
    _, _, messages = trained
    assert messages[-1].score < messages[0].score * 0.9
    assert messages[-1].unit == "bits a frame"
    assert [message.steps for message in messages if message.step == message.steps] == [30, 10]


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(clips, tmp_path):
    models = []
    for seed in (0, 0, 1):
        target = tmp_path / f"{len(models)}.pacmodel"
        start(clips, target, steps=4, seed=seed)
        models.append(ModelFile.read(target).arrays())
    same, other = ([np.array_equal(models[0][name], m[name]) for name in models[0]] for m in models[1:])
    assert all(same)
    assert not all(other)


@pytest.mark.parametrize("stop_at", [2, 6, 7])
def test_an_interrupted_run_goes_on_to_the_same_weights(stop_at, clips, tmp_path):
    whole, broken = tmp_path / "whole.pacmodel", tmp_path / "broken.pacmodel"
    start(clips, whole)
    with pytest.raises(KeyboardInterrupt):
        start(clips, broken, report=Stopping(stop_at))
    checkpoint = broken.with_name(broken.name + CHECKPOINT_SUFFIX)
    assert saved_plan(checkpoint).phase == (ROUNDED if stop_at > 6 else FLOATS)
    again = Stopping()
    start(clips, broken, report=again)
    assert len(again) == 8 - stop_at
    one, other = ModelFile.read(whole), ModelFile.read(broken)
    assert all(np.array_equal(one.arrays()[name], other.arrays()[name]) for name in one.arrays())
    assert one.info.quality == other.info.quality
    assert not checkpoint.exists()


@pytest.mark.parametrize("change", [{"steps": 12}, {"seed": 1}, {"fewer": 1}, {"size": (24, 16)}])
@pytest.mark.parametrize("stop_at", [1, 7])
def test_going_on_with_other_options_is_refused(change, stop_at, clips, tmp_path):
    target = tmp_path / "a.pacmodel"
    with pytest.raises(KeyboardInterrupt):
        start(clips, target, report=Stopping(stop_at))
    options = {name: value for name, value in change.items() if name != "fewer"}
    with pytest.raises(UsageError, match="other options"):
        start(clips[change.get("fewer", 0) :], target, **options)
    assert not target.exists()


def test_a_broken_checkpoint(clips, tmp_path):
    (tmp_path / f"a.pacmodel{CHECKPOINT_SUFFIX}").write_bytes(b"no checkpoint at all")
    with pytest.raises(CorruptFileError, match="checkpoint"):
        start(clips, tmp_path / "a.pacmodel")


def test_clips_of_different_sizes_are_taken_as_they_are(clips, tmp_path):
    other = record(tmp_path / "large.mp4", range(12), 64, 48)
    report = start([other, *clips[:3]], tmp_path / "a.pacmodel", steps=4)
    model = ModelFile.read(tmp_path / "a.pacmodel")
    assert "screens" not in model.arrays()
    assert "screens" not in model.info.hyperparameters
    assert report.bits["predictive"] > 0


def test_still_footage(tmp_path):
    still = record(tmp_path / "still.mp4", [3] * 12)
    report = start([still], tmp_path / "a.pacmodel", steps=4)
    assert report.bits["predictive"] == 0
    IntegerNetwork(ModelFile.read(tmp_path / "a.pacmodel").arrays(), GEOMETRY)


def test_codes_are_those_of_the_colours(clips):
    footage = load_codes(clips, (), (), None, hold=6)
    with av.open(clips[1]) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    coded = np.stack([footage.palette[grid] for grid in footage.train[1]])
    assert len(coded) == len(pictures)
    assert np.abs(coded.astype(int) - np.stack(pictures)).mean() < 2
    assert [len(clip) for clip in (*footage.validation, *footage.test)] == [11, 12]
    assert footage.left_out == 0
    assert probe(footage.test, GEOMETRY, 50, 10**6).frames == 11


def test_codes_of_noisy_footage_stay_until_a_pixel_has_moved(tmp_path):
    noise = np.random.default_rng(0)
    still, noisy = screen(0, 48, 32), []
    for _ in range(30):
        noisy.append((still.astype(int) + noise.integers(-5, 6, still.shape)).clip(0, 255).astype(np.uint8))
    make_video(tmp_path / "noisy.mp4", noisy)
    footage = load_codes([str(tmp_path / "noisy.mp4")], (), (), None, hold=6)
    assert footage.noise > 10
    assert len(footage.palette) < 256
    grids = np.stack(list(footage.train[0]))
    assert (grids[1:] != grids[:-1]).mean() < 0.01
    assert load_codes([record(tmp_path / "clean.mp4", range(30))], (), (), None, hold=6).noise == 0


def test_the_palette_does_not_see_what_is_held_out(clips, tmp_path):
    red = str(tmp_path / "red.mp4")
    make_video(red, [np.full((32, 48, 3), (250, 0, 0), np.uint8)] * 6)
    footage = load_codes(clips[:2], (), (red,), None, hold=6)
    assert min(footage.psnr) < 25


def test_a_rank_makes_no_sense(clips, tmp_path):
    with pytest.raises(UsageError, match="rank"):
        start(clips, tmp_path / "a.pacmodel", rank=3)


def test_the_command_line_says_what_it_got(clips, tmp_path):
    target = tmp_path / "a.pacmodel"
    result = cli("train", *clips, "-o", target, "--steps", 4)
    assert result.exit_code == 0
    for word in ("dB", "zstd -19", "x264 lossless", "bits a frame", str(target)):
        assert word in result.output
    result = cli("train", *clips, "-o", target, "--steps", 4, "-y", "--json")
    assert json.loads(result.stdout)["bits"]["predictive"] > 0
