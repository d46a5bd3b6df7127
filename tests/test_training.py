"""Training on small clips: a model that encodes, the same result after an interruption, and who is held out."""

import itertools

import numpy as np
import pytest
import torch
from clips import make_clip
from conftest import cli

import pacodec
from pacodec.autoencoders.registry import build
from pacodec.common.media import Frame
from pacodec.common.metrics import psnr
from pacodec.errors import CorruptFileError, FileAccessError, UnsupportedError, UsageError
from pacodec.models.files import ModelFile
from pacodec.training.autoencoder import load_footage
from pacodec.training.fit import CropSampler, fit, measure_psnr
from pacodec.training.loop import TrainingPlan, learning_rate_at
from pacodec.training.request import CHECKPOINT_SUFFIX, TrainingProgress
from pacodec.training.train import train
from pacodec.video.reader import VideoReader

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
SMALL = {"vanilla-500": {"size": (32, 24), "rank": 4}, "vae": {"size": (32, 24), "rank": 4}, "conv4": {}}


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Four clips of 32 x 24 that can be told apart by their number of frames: 6, 7, 8 and 9."""
    folder = tmp_path_factory.mktemp("footage")
    names = []
    for number in range(4):
        names.append(str(folder / f"{number}.mp4"))
        make_clip(names[-1], width=32, height=24, frames=6 + number, options={"qp": "4"})
    return names


class Messages(list):
    """Collects reports, and stops the training as Ctrl-C would at the validation of that number."""

    def __init__(self, stop_at=None):
        super().__init__()
        self.stop_at = stop_at

    def __call__(self, message):
        self.append(message)
        if self.stop_at is not None and len(self.validations) == self.stop_at:
            raise KeyboardInterrupt

    @property
    def validations(self):
        return [message for message in self if isinstance(message, TrainingProgress)]


def steps_of(arch, steps):
    """What a run of so many steps validates after: each, phase by phase."""
    with torch.device("meta"):
        shares = [share for share, _ in build(arch, {}).phases]
    ends = [round(steps * end) for end in itertools.accumulate(shares, initial=0.0)]
    return [step for first, end in itertools.pairwise(ends) for step in range(1, max(end - first, 1) + 1)]


def start(clips, target, arch="vanilla-500", steps=6, **options):
    return train(clips, str(target), arch=arch, steps=steps, device="cpu", **{**SMALL[arch], **options})


# What training makes


@pytest.mark.parametrize("arch", SMALL)
def test_a_trained_model_is_one_that_encodes(arch, clips, tmp_path):
    model, messages = tmp_path / "mine.pacmodel", Messages()
    report = start(clips, model, arch, report=messages)
    info = ModelFile.read(model).info
    assert info.arch == report.arch == arch
    assert info.quality["psnr"] == report.psnr
    assert info.quality["frames"] == report.test_frames == 5
    assert info.training["frames"] == 6 + 7 + 8
    assert report.model_bytes == model.stat().st_size
    assert report.psnr_low <= report.psnr
    assert [message.step for message in messages.validations] == steps_of(arch, 6)
    assert not model.with_name(model.name + CHECKPOINT_SUFFIX).exists()
    done = pacodec.encode(clips[3], str(tmp_path / "out.pac"), model=str(model), quantizer="naive", device="cpu")
    assert done.model == "mine"
    with pacodec.open(tmp_path / "out.pac", model=str(model), device="cpu") as video:
        assert len(video) == 9
        assert video[4].shape == (24, 32, 3)


def test_training_learns(clips, tmp_path):
    messages = Messages()
    start(clips, tmp_path / "a.pacmodel", "vae", steps=40, report=messages)
    first, *later = messages.validations
    assert max(message.score for message in later) > first.score + 1
    assert later[-1].loss < first.loss


def test_the_measured_quality_is_that_of_the_weights_as_stored(clips, tmp_path):
    report = start(clips[:3], tmp_path / "a.pacmodel", test=clips[3:])
    done = pacodec.encode(
        clips[3],
        str(tmp_path / "a.pac"),
        model=str(tmp_path / "a.pacmodel"),
        quantizer="naive",
        min_psnr=0,
        device="cpu",
    )
    assert done.psnr_frames == report.test_frames
    # The video is 32 x 24 as the network is, so both see the same pictures.
    with VideoReader(clips[3]) as video:
        originals = np.stack([event.rgb for event in video if isinstance(event, Frame)])
    with pacodec.open(tmp_path / "a.pac", model=str(tmp_path / "a.pacmodel"), device="cpu") as coded:
        assert psnr(originals, np.stack(coded[:])).mean() == pytest.approx(report.psnr, abs=0.05)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(clips, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        start(clips, tmp_path / f"{name}.pacmodel", "vae", steps=2, seed=seed)
    a, b, c = ((tmp_path / f"{name}.pacmodel").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_minutes_become_steps(clips, tmp_path):
    report = start(clips, tmp_path / "a.pacmodel", steps=None, minutes=0.01)
    assert 6 <= report.steps < 10_000


# Interruptions


@pytest.mark.parametrize(("arch", "stop_at"), [*itertools.product(["vanilla-500", "vae"], [1, 4]), ("conv4", 2)])
def test_an_interrupted_run_goes_on_to_the_same_bytes(arch, stop_at, clips, tmp_path):
    whole, broken = tmp_path / "whole.pacmodel", tmp_path / "broken.pacmodel"
    messages = Messages(stop_at)
    start(clips, whole, arch, steps=5)
    with pytest.raises(KeyboardInterrupt):
        start(clips, broken, arch, steps=5, report=messages)
    assert [path.name for path in tmp_path.glob("broken*")] == [broken.name + CHECKPOINT_SUFFIX]
    again = Messages()
    start(clips, broken, arch, steps=5, report=again)
    assert [message.step for message in again.validations] == steps_of(arch, 5)[stop_at:]
    assert broken.read_bytes() == whole.read_bytes()
    assert not broken.with_name(broken.name + CHECKPOINT_SUFFIX).exists()


def test_a_run_by_the_clock_goes_on_for_the_steps_it_began_with(clips, tmp_path):
    messages = Messages(1)
    with pytest.raises(KeyboardInterrupt):
        start(clips, tmp_path / "a.pacmodel", steps=None, minutes=0.01, report=messages)
    report = start(clips, tmp_path / "a.pacmodel", steps=None, minutes=60)
    assert report.steps == messages.validations[0].steps


@pytest.mark.parametrize("change", [{"steps": 7}, {"seed": 1}, {"rank": 3}, {"arch": "vae"}, {"fewer": 1}])
def test_going_on_with_other_options_is_refused(change, clips, tmp_path):
    target = tmp_path / "a.pacmodel"
    with pytest.raises(KeyboardInterrupt):
        start(clips, target, report=Messages(2))
    checkpoint = target.with_name(target.name + CHECKPOINT_SUFFIX).read_bytes()
    fewer = change.pop("fewer", 0)
    with pytest.raises(UsageError, match="other options"):
        start(clips[fewer:], target, **change)
    assert target.with_name(target.name + CHECKPOINT_SUFFIX).read_bytes() == checkpoint
    assert not target.exists()


def test_the_command_line_says_so_with_exit_code_2(clips, tmp_path):
    target = tmp_path / "a.pacmodel"
    with pytest.raises(KeyboardInterrupt):
        start(clips, target, report=Messages(2))
    result = cli("train", *clips, "-o", target, "--arch", "vanilla-500", "--steps", 8, "--size", "32x24", "--rank", 4)
    assert result.exit_code == 2
    assert CHECKPOINT_SUFFIX in result.output


@pytest.mark.parametrize("data", [b"", b"no checkpoint at all", bytes(200)])
@pytest.mark.parametrize("steps", [6, None])
def test_a_broken_checkpoint(data, steps, clips, tmp_path):
    (tmp_path / f"a.pacmodel{CHECKPOINT_SUFFIX}").write_bytes(data)
    with pytest.raises(CorruptFileError, match="checkpoint"):
        start(clips, tmp_path / "a.pacmodel", steps=steps)


# Who is held out


def test_of_a_few_clips_the_last_is_held_out(clips):
    footage = load_footage(clips, (), (), None)
    assert [len(clip) for clip in footage.train] == [6, 7, 8]
    assert [len(clip) for clip in footage.validation] == [4]
    assert [len(clip) for clip in footage.test] == [5]
    assert "the last of 4 clips" in footage.split


def test_of_many_clips_whole_ones_are_held_out(clips):
    footage = load_footage([*clips, *clips, *clips[:2]], (), (), None)
    assert [len(clip) for clip in footage.train] == [6, 7, 8, 9] * 2
    assert [len(clip) for clip in footage.validation] == [6]
    assert [len(clip) for clip in footage.test] == [7]
    assert "1 of 10 clips" in footage.split


def test_named_clips_are_held_out(clips):
    footage = load_footage(clips[:2], clips[2:3], clips[3:], None)
    assert [[len(clip) for clip in part] for part in (footage.train, footage.validation, footage.test)] == [
        [6, 7],
        [8],
        [9],
    ]
    for named in ({"validation": clips[3:], "test": ()}, {"validation": (), "test": clips[3:]}):
        footage = load_footage(clips[:3], **named, size=None)
        assert [len(clip) for clip in footage.train] == [6, 7, 8]
        assert [len(clip) for clip in footage.validation] == [len(clip) for clip in footage.test] == [9]


def test_of_a_single_clip_the_end_is_held_out(clips, tmp_path):
    footage = load_footage(clips[3:], (), (), None)
    lengths = [sum(map(len, part)) for part in (footage.train, footage.validation, footage.test)]
    assert sum(lengths) == 9
    assert lengths[0] >= 7
    assert min(lengths) >= 1
    assert not np.array_equal(footage.validation[0][0], footage.test[0][0])
    assert start(clips[3:], tmp_path / "a.pacmodel", steps=2).test_frames == lengths[2]


def test_too_few_frames(tmp_path):
    make_clip(tmp_path / "short.mp4", width=32, height=24, frames=3)
    with pytest.raises(UsageError, match="too few"):
        start([str(tmp_path / "short.mp4")], tmp_path / "a.pacmodel")


def test_clips_are_brought_to_one_size(clips, tmp_path):
    make_clip(tmp_path / "large.mp4", width=64, height=40, frames=6)
    footage = load_footage([clips[0], str(tmp_path / "large.mp4"), clips[1]], (), (), None)
    assert {clip.shape[1:] for part in (footage.train, footage.validation, footage.test) for clip in part} == {
        (24, 32, 3)
    }


# The loop


def smooth(n, seed=0):
    rng = np.random.default_rng(seed)
    return np.clip(np.cumsum(rng.normal(0, 6, (n, 24, 32, 3)), 2) + 120, 0, 255).astype(np.uint8)


def test_training_stops_when_nothing_is_gained():
    plan = TrainingPlan(50, learning_rate=0.0, validate_every=1, patience=3, batch=2)
    messages = Messages()
    fit(build("conv4", {}), [smooth(4)], [smooth(2, 1)], plan, device=CPU, report=messages)
    assert len(messages) <= 12  # normalisation still settles for a few steps


def test_a_run_that_stopped_early_is_not_trained_further_when_interrupted_then(tmp_path):
    plan = TrainingPlan(50, learning_rate=0.0, validate_every=1, patience=1, batch=2)
    checkpoint = tmp_path / "checkpoint"

    def network():
        torch.manual_seed(0)
        return build("vae", {"height": 24, "width": 32, "rank": 4})

    first, second = Messages(), Messages()
    whole = fit(network(), [smooth(4)], [smooth(2, 1)], plan, device=CPU, checkpoint=checkpoint, report=first)
    resumed = fit(network(), [smooth(4)], [smooth(2, 1)], plan, device=CPU, checkpoint=checkpoint, report=second)
    assert len(first) < 50
    assert not second
    assert all(
        torch.equal(a, b) for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True)
    )


def test_the_best_weights_are_the_ones_returned():
    torch.manual_seed(0)
    plan = TrainingPlan(12, learning_rate=0.05, validate_every=1, batch=2)  # far too fast: the end is seldom the best
    messages = Messages()
    model = build("vae", {"height": 24, "width": 32, "rank": 4})
    began = float(measure_psnr(model, [smooth(2, 1)], CPU).mean())
    fit(model, [smooth(4)], [smooth(2, 1)], plan, device=CPU, report=messages)
    best = max(began, *(message.score for message in messages))
    assert float(measure_psnr(model, [smooth(2, 1)], CPU).mean()) == pytest.approx(best, abs=1e-3)


def test_batches_depend_on_seed_and_step_alone():
    footage, plan = [smooth(5), smooth(9, 1)], TrainingPlan(10, batch=4, crop=16)
    one, other = CropSampler(footage, plan, None), CropSampler(footage, plan, None)
    other.batch(0)
    assert np.array_equal(one.batch(7), other.batch(7))
    assert not np.array_equal(one.batch(7), one.batch(8))
    assert one.batch(3).shape == (4, 16, 16, 3)
    assert CropSampler(footage, plan, (24, 32)).batch(0).shape == (4, 24, 32, 3)


def test_the_learning_rate_rises_and_falls():
    plan = TrainingPlan(1000, learning_rate=1e-3)
    rates = [learning_rate_at(step, plan) for step in range(1000)]
    top = int(np.argmax(rates))
    assert 0 < rates[0] < rates[top] == pytest.approx(1e-3)
    assert np.all(np.diff(rates[: top + 1]) > 0)
    assert np.all(np.diff(rates[top + 1 :]) < 0)
    assert rates[-1] == pytest.approx(1e-5, rel=0.05)


# What cannot be


@pytest.mark.parametrize("name", ["model", "model.pt", "model.pacmodel.bak", "-"])
def test_the_output_must_be_named_as_a_model_file(name, clips, tmp_path):
    with pytest.raises(UsageError, match="pacmodel"):
        start(clips, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_an_output_that_exists(clips, tmp_path):
    target = tmp_path / "a.pacmodel"
    target.write_bytes(b"precious")
    with pytest.raises(FileAccessError, match="exists"):
        start(clips, target)
    assert target.read_bytes() == b"precious"
    start(clips, target, steps=1, overwrite=True)
    ModelFile.read(target)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"arch": "conv9"}, UnsupportedError),
        ({"arch": "conv4", "rank": 3}, UsageError),
        ({"arch": "vae", "size": (30, 24)}, UsageError),
    ],
)
def test_options_that_make_no_sense(options, error, clips, tmp_path):
    with pytest.raises(error):
        train(clips, str(tmp_path / "a.pacmodel"), steps=1, device="cpu", **options)


def test_no_clips(tmp_path):
    with pytest.raises(UsageError, match="no clips"):
        start([], tmp_path / "a.pacmodel")


def test_a_clip_that_is_missing_or_no_video(clips, tmp_path):
    (tmp_path / "text.mp4").write_text("this is no video")
    with pytest.raises(FileAccessError):
        start([*clips, str(tmp_path / "missing.mp4")], tmp_path / "a.pacmodel")
    with pytest.raises(CorruptFileError):
        start([*clips, str(tmp_path / "text.mp4")], tmp_path / "a.pacmodel")
    assert not list(tmp_path.glob("a.*"))
