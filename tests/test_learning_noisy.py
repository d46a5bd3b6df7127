"""Whole trainings on noisy footage: first a post-filter, then the predictor; and what the post-filter learns from."""

import json

import clips
import numpy as np
import pytest
from conftest import cli, make_video
from hypothesis import given, settings
from hypothesis import strategies as st
from stopping import Stopping

import pacodec
from pacodec.errors import CorruptFileError, UsageError
from pacodec.learning.fit_filter import SHAPE
from pacodec.learning.footage import load_codes
from pacodec.learning.loop import CHECKPOINT_SUFFIX
from pacodec.learning.pairs import Crops, Pairs
from pacodec.metrics import psnr
from pacodec.predictors.network import Geometry, IntegerNetwork
from pacodec.training import train
from pacodec.transforms.postfilter import MIDDLE, PostFilter, Shape
from pacodec.weights import ModelFile

pytestmark = pytest.mark.usefixtures("one_thread")

FILTER_CHECKPOINT = f"{CHECKPOINT_SUFFIX}.filter"
LAST = 3
"""Of the clips, the one that is held out."""


def grainy(clip, frames=None, width=40, height=32):
    """Smooth pictures of a clip of that number, with noise of few levels."""
    noise = np.random.default_rng(clip)
    shown = [clips.picture(5 * clip + n, width, height).astype(int) for n in range(frames or 10 + clip)]
    return [(rgb + noise.integers(-5, 6, rgb.shape)).clip(0, 255).astype(np.uint8) for rgb in shown]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Four clips of 10 to 13 frames."""
    folder = tmp_path_factory.mktemp("noisy")
    return [str(make_video(folder / f"{clip}.mkv", grainy(clip))) for clip in range(LAST + 1)]


@pytest.fixture(scope="module")
def footage(recordings):
    return load_codes(recordings, (), (), None, hold=6)


def start(recordings, target, steps=4, **options):
    return train(recordings, str(target), steps=steps, device="cpu", **options)


def checkpoints(target):
    """The ends of names of what lies beside a model."""
    return {path.name.removeprefix(target.name) for path in target.parent.glob(f"{target.name}?*")}


@pytest.fixture(scope="module")
def trained(recordings, tmp_path_factory):
    """A model by the command line, and what that said."""
    target = tmp_path_factory.mktemp("model") / "grain.pacmodel"
    result = cli("train", *recordings, "-o", target, "--steps", 40, "--json")
    assert result.exit_code == 0, result.output
    return target, json.loads(result.stdout)


# What a post-filter learns from


def test_pictures_are_kept_beside_their_codes(footage):
    assert footage.noise > 10
    for pairs in (footage.pairs, footage.judged, footage.held):
        assert len(pairs) == len(pairs.codes) == len(pairs.clips)
        for picture, codes in zip(pairs.pictures, pairs.codes, strict=True):
            assert psnr(picture[None], footage.palette[codes][None]).item() > 15
    assert set(footage.pairs.clips) == {0, 1, 2}
    known = {picture.tobytes() for clip in range(LAST) for picture in grainy(clip)}
    assert {picture.tobytes() for picture in footage.pairs.pictures} == known
    held = [picture.tobytes() for picture in grainy(LAST)]
    assert [picture.tobytes() for picture in (*footage.judged.pictures, *footage.held.pictures)] == held


def test_of_clean_footage_none_are_kept(tmp_path):
    still = make_video(tmp_path / "clean.mkv", [clips.picture(3, 40, 32)] * 10)
    clean = load_codes([str(still)], (), (), None, hold=6)
    assert clean.noise == 0
    assert len(clean.pairs) == len(clean.judged) == len(clean.held) == 0


def test_every_so_many_pairs_are_kept_as_they_were():
    pairs, picture = Pairs(every=3), np.zeros((4, 4, 3), np.uint8)
    for number in range(8):
        picture[...] = number
        pairs.add(picture, picture[..., 0], number // 4)
    assert [(p[0, 0, 0], c[0, 0], k) for p, c, k in zip(pairs.pictures, pairs.codes, pairs.clips, strict=True)] == [
        (0, 0, 0),
        (3, 3, 0),
        (6, 6, 1),
    ]


def marked_pairs(sizes):
    """Pictures in which each pixel tells its row, its column, and the number of the picture; codes that miss by 1."""
    pairs = Pairs()
    for number, (height, width) in enumerate(sizes):
        y, x = np.mgrid[:height, :width].astype(np.uint8)
        pairs.add(np.stack([y, x, np.full_like(y, number)], -1), x, 0)
    return pairs


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(2, 60), st.integers(2, 60)), min_size=1, max_size=3), st.integers(2, 40))
def test_crops_are_pieces_of_pictures_on_even_places(sizes, side):
    greys = np.arange(256, dtype=np.uint8)[:, None].repeat(3, 1)
    shown, meant = Crops(marked_pairs(sizes), greys, side, seed=0).batch(1, 5)
    taken = min(side, *(min(size) for size in sizes)) // 2 * 2
    assert shown.shape == meant.shape == (5, 3, taken, taken)
    levels = (meant * MIDDLE + MIDDLE).permute(0, 2, 3, 1).numpy().astype(int)
    columns = (shown * MIDDLE + MIDDLE)[:, 0].numpy().astype(int)
    for crop, codes in zip(levels, columns, strict=True):
        (number,) = set(crop[..., 2].ravel())
        top, left = crop[0, 0, 0], crop[0, :, 1].min()
        assert top % 2 == left % 2 == 0
        assert top + taken <= sizes[number][0]
        assert left + taken <= sizes[number][1]
        assert (crop[..., 0] == np.arange(top, top + taken)[:, None]).all()
        mirror = -1 if crop[0, 0, 1] > left else 1
        assert (crop[:, ::mirror, 1] == np.arange(left, left + taken)).all()
        assert np.array_equal(codes, crop[..., 1])


def test_crops_depend_on_seed_and_step_alone():
    greys = np.arange(256, dtype=np.uint8)[:, None].repeat(3, 1)
    pairs = marked_pairs([(60, 50), (40, 40)])
    one, same, other = (Crops(pairs, greys, 16, seed) for seed in (4, 4, 5))
    one.batch(9, 3)
    assert all(a.equal(b) for a, b in zip(one.batch(2, 6), same.batch(2, 6), strict=True))
    assert not one.batch(2, 6)[1].equal(one.batch(3, 6)[1])
    assert not one.batch(2, 6)[1].equal(other.batch(2, 6)[1])


def test_crops_are_taken_where_errors_are():
    pairs, wrong = Pairs(), np.zeros((80, 80, 3), np.uint8)
    wrong[64:72, 8:16] = 200
    pairs.add(wrong, np.zeros((80, 80), np.uint8), 0)
    _, meant = Crops(pairs, np.zeros((1, 3), np.uint8), 16, seed=0).batch(0, 100)
    with_errors = (meant > -1).any(3).any(2).any(1).float().mean()
    assert 0.3 < with_errors < 0.9


# What training makes


def test_the_model_has_a_post_filter(trained):
    target, report = trained
    model = ModelFile.read(target)
    shape = model.info.hyperparameters
    assert shape["noise"] > 10
    assert shape["postfilter"] == [SHAPE.width, SHAPE.blocks]
    PostFilter(model.arrays(), Shape.from_hyperparameter(shape["postfilter"]))
    IntegerNetwork(model.arrays(), Geometry.from_hyperparameters(shape))
    assert model.info.quality["psnr"] == report["psnr"]
    assert report["steps"] == 40
    assert not checkpoints(target)


def test_the_post_filter_gets_nearer_to_what_was_meant(trained, footage):
    """Than the colours are, on footage that was not trained on."""
    model = ModelFile.read(trained[0])
    corrector = PostFilter(model.arrays(), SHAPE)
    shown = [footage.palette[codes][None] for codes in footage.held.codes]
    meant = [picture[None] for picture in footage.held.pictures]
    plain, corrected = (
        np.mean([psnr(a, b).item() for a, b in zip(meant, made, strict=True)])
        for made in (shown, [corrector.filter(picture) for picture in shown])
    )
    assert corrected > plain + 0.05
    assert model.info.quality["psnr"] == pytest.approx(corrected, abs=1e-3)


def test_the_model_serves_all_commands(trained, recordings, tmp_path):
    model, coded = trained[0], tmp_path / "out.pac"
    result = cli("encode", recordings[LAST], coded, "-m", model, "-q", 3, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["transform"] == "filtered"
    assert cli("verify", coded, "-m", model).exit_code == 0
    assert json.loads(cli("info", coded, "--json").stdout)["transform"] == "filtered"
    assert cli("decode", coded, tmp_path / "out.mp4", "-m", model).exit_code == 0
    with pacodec.open(coded, model=str(model)) as video:
        assert psnr(np.stack(grainy(LAST)), np.stack(list(video))).mean() > 22


@pytest.mark.parametrize("options", [("--lossless",), ("-q", "5", "--min-psnr", "90")])
def test_the_model_serves_what_a_filter_cannot(options, trained, recordings, tmp_path):
    result = cli("encode", recordings[LAST], tmp_path / "out.pac", "-m", trained[0], *options, "--verify", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["transform"] != "filtered"
    with pacodec.open(tmp_path / "out.pac", model=str(trained[0])) as video:
        assert np.array_equal(np.stack(list(video)), grainy(LAST))


def test_noisy_footage_by_the_clock(recordings, tmp_path):
    report = start(recordings, tmp_path / "a.pacmodel", steps=None, minutes=0.02)
    assert report.steps >= 4
    assert "postfilter" in ModelFile.read(tmp_path / "a.pacmodel").info.hyperparameters


def test_clips_of_odd_and_different_sizes(recordings, tmp_path):
    odd = str(make_video(tmp_path / "odd.mkv", grainy(5, 8, 37, 27)))
    large = str(make_video(tmp_path / "large.mkv", grainy(6, 8, 70, 66)))
    start([large, recordings[0], odd], tmp_path / "a.pacmodel")
    pacodec.encode(odd, str(tmp_path / "out.pac"), model=str(tmp_path / "a.pacmodel"), verify=True)
    assert pacodec.info(tmp_path / "out.pac").transform == "filtered"


# Interruptions


@pytest.fixture(scope="module")
def uninterrupted(recordings, tmp_path_factory):
    """A short run through all four phases: the model, and its progress."""
    target, messages = tmp_path_factory.mktemp("whole") / "whole.pacmodel", Stopping()
    start(recordings, target, report=messages)
    return ModelFile.read(target), messages


def test_the_post_filter_comes_first(uninterrupted):
    assert [(message.unit, message.step) for message in uninterrupted[1]] == [
        *(("dB", step) for step in (1, 2, 3, 1)),
        *(("bits a frame", step) for step in (1, 2, 3, 1)),
    ]


@pytest.mark.parametrize("stop_at", [2, 4, 6])
def test_a_run_interrupted_in_any_phase_goes_on_to_the_same_model(stop_at, uninterrupted, recordings, tmp_path):
    target = tmp_path / "a.pacmodel"
    with pytest.raises(KeyboardInterrupt):
        start(recordings, target, report=Stopping(stop_at))
    assert checkpoints(target) == {FILTER_CHECKPOINT, *([CHECKPOINT_SUFFIX] if stop_at > 4 else [])}
    again = Stopping()
    start(recordings, target, report=again)
    assert len(again) == 8 - stop_at
    one, other = uninterrupted[0], ModelFile.read(target)
    assert one.arrays().keys() == other.arrays().keys()
    assert all(values.tobytes() == other.arrays()[name].tobytes() for name, values in one.arrays().items())
    assert (one.info.hyperparameters, one.info.quality) == (other.info.hyperparameters, other.info.quality)
    assert {**one.info.training, "seconds": 0} == {**other.info.training, "seconds": 0}
    assert not checkpoints(target)


@pytest.mark.parametrize("change", [{"steps": 12}, {"fewer": 1}])
def test_going_on_with_other_options_is_refused(change, recordings, tmp_path):
    target = tmp_path / "a.pacmodel"
    with pytest.raises(KeyboardInterrupt):
        start(recordings, target, report=Stopping(2))
    options = {name: value for name, value in change.items() if name != "fewer"}
    with pytest.raises(UsageError, match=r"checkpoint\.filter: .*other options"):
        start(recordings[change.get("fewer", 0) :], target, **options)
    assert checkpoints(target) == {FILTER_CHECKPOINT}


def test_a_broken_checkpoint(recordings, tmp_path):
    (tmp_path / f"a.pacmodel{FILTER_CHECKPOINT}").write_bytes(b"no checkpoint at all")
    with pytest.raises(CorruptFileError, match="checkpoint"):
        start(recordings, tmp_path / "a.pacmodel")
