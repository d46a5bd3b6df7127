"""The post-filter: the same pixels however they are computed, the network that was trained, and files that name it."""

import json
import tracemalloc
from unittest import mock

import numpy as np
import pytest
import torch
from authored import make_filter_arrays, plainly_filtered, recording_model
from conftest import COLOURS, cli, make_video, screen
from hypothesis import example, given, settings
from hypothesis import strategies as st

import pacodec
from pacodec import limits
from pacodec.errors import CorruptFileError, LimitError
from pacodec.training.filter_network import FilterNetwork
from pacodec.training.fit_filter import as_input
from pacodec.transforms.integer_layer import IntegerLayer
from pacodec.transforms.postfilter import MAX_BLOCKS, MAX_WIDTH, MIDDLE, NUMBERS, PostFilter, Shape

pytestmark = pytest.mark.usefixtures("one_thread")

shapes = st.builds(Shape, st.integers(1, 9), st.integers(0, MAX_BLOCKS))
sizes = st.tuples(st.integers(1, 70), st.integers(1, 70))
seeds = st.integers(0, 2**32 - 1)


def footage(frames, height, width, seed):
    """Pictures of which each has a few patches that the one before has not, and some none."""
    rng = np.random.default_rng(seed)
    pictures = np.repeat(rng.integers(0, 256, (1, height, width, 3), np.uint8), frames, 0)
    for number in range(1, frames):
        for _ in range(rng.integers(4)):
            top, left = rng.integers(height), rng.integers(width)
            patch = np.s_[number:, top : top + rng.integers(1, 9), left : left + rng.integers(1, 9)]
            pictures[patch] = rng.integers(0, 256, 3)
    return pictures


def filter_of(shape, seed=0):
    return PostFilter(make_filter_arrays(shape.width, shape.blocks, seed), shape)


def plainly(shape, pictures, seed=0):
    """By the independent reader, which computes all of each picture."""
    arrays = make_filter_arrays(shape.width, shape.blocks, seed)
    return np.stack([plainly_filtered(arrays, shape.blocks, picture) for picture in pictures])


# The same pixels, however they are computed


@settings(max_examples=40, deadline=None)
@given(shapes, sizes, st.integers(1, 5), seeds)
@example(Shape(4, 1), (1, 1), 3, 0)
@example(Shape(4, 2), (2, 2), 2, 0)
@example(Shape(4, 1), (1, 70), 3, 1)
@example(Shape(4, 1), (69, 1), 3, 1)
def test_pictures_together_are_those_one_by_one(shape, size, frames, seed):
    pictures = footage(frames, *size, seed)
    before = pictures.copy()
    found = filter_of(shape, seed).filter(pictures)
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    assert np.array_equal(pictures, before)
    alone = [filter_of(shape, seed).filter(picture[None]) for picture in pictures]
    assert np.array_equal(found, np.concatenate(alone))
    assert np.array_equal(found, plainly(shape, pictures, seed))


@settings(max_examples=25, deadline=None)
@given(shapes, sizes, st.integers(1, 12), st.integers(1, 40), seeds)
def test_tiles_and_batches_of_any_size_change_nothing(shape, size, tile, rows, seed):
    pictures = footage(3, *size, seed)
    with mock.patch.multiple("pacodec.transforms.postfilter", TILE_SIDE=tile, GATHERED_GROUPS=20 * rows):
        found = filter_of(shape, seed).filter(pictures)
    assert np.array_equal(found, filter_of(shape, seed).filter(pictures))


@pytest.mark.parametrize("bias", [(1 << 24) - 1, 1 - (1 << 24), 40_000, -70_000])
def test_corrections_beyond_all_levels_end_at_black_or_white(bias):
    arrays = {name: np.zeros_like(values) for name, values in make_filter_arrays(2, 1).items()}
    arrays["postfilter.last.bias"][...] = bias
    found = PostFilter(arrays, Shape(2, 1)).filter(footage(2, 7, 8, 0))
    assert (found == (255 if bias > 0 else 0)).all()


def test_a_filter_remembers_nothing():
    one, other = footage(3, 21, 30, 0), footage(2, 34, 18, 1)
    corrector = filter_of(Shape(5, 2))
    first = corrector.filter(one)
    corrector.filter(other)
    assert np.array_equal(corrector.filter(one), first)


@pytest.mark.parametrize("size", [(20, 30), (21, 31)])
def test_no_pictures(size):
    assert filter_of(Shape(4, 1)).filter(np.empty((0, *size, 3), np.uint8)).shape == (0, *size, 3)


@pytest.mark.parametrize("blocks", [0, 2])
def test_only_what_changes_is_computed(blocks, monkeypatch):
    asked = []
    finish = IntegerLayer.finish

    def counting(layer, products, which=0):
        asked.append(len(products))
        return finish(layer, products, which)

    monkeypatch.setattr(IntegerLayer, "finish", counting)
    pictures = footage(1, 80, 80, 5).repeat(3, 0)
    pictures[2, 40:42, 40:42] += 1
    shape = Shape(4, blocks)
    needs = []
    for frames in (1, 2, 3):
        asked.clear()
        filter_of(shape).filter(pictures[:frames])
        needs.append(sum(asked))
    layers = 2 + 2 * blocks
    assert needs[0] == needs[1] == layers * 40 * 40
    assert 0 < needs[2] - needs[1] <= layers * (2 * shape.reach + 1) ** 2


def test_a_group_depends_on_no_more_than_its_reach():
    shape = Shape(6, 1)
    picture = footage(1, 60, 60, 2)
    around = slice(2 * (15 - shape.reach), 2 * (16 + shape.reach))
    far = 255 - picture
    far[:, around, around] = picture[:, around, around]
    group = np.s_[:, 30:32, 30:32]
    corrector = filter_of(shape)
    assert np.array_equal(corrector.filter(far)[group], corrector.filter(picture)[group])
    assert not np.array_equal(corrector.filter(far), corrector.filter(picture))


# The network that is trained


def network_of(shape, seed, scale):
    """One as after training, with weights of any size, that rounds."""
    torch.manual_seed(seed)
    network = FilterNetwork(shape)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn_like(parameter) * scale / max(parameter[0].numel(), 4) ** 0.5)
    network.calibrate(as_input(footage(2, 32, 32, seed)))
    return network


@settings(max_examples=25, deadline=None)
@given(shapes, st.sampled_from([0.05, 0.5, 1.0, 4.0]), sizes, seeds)
def test_the_integers_are_the_network_that_was_trained(shape, scale, size, seed):
    network = network_of(shape, seed, scale)
    pictures = footage(2, 2 * size[0], 2 * size[1], seed)
    with torch.no_grad():
        levels = network(as_input(pictures)) * MIDDLE + MIDDLE
    assert torch.equal(levels, levels.round())
    expected = levels.clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(PostFilter(network.export(), shape).filter(pictures), expected)


def test_an_untrained_network_changes_nothing():
    network, pictures = FilterNetwork(Shape(4, 1)), footage(2, 20, 22, 0)
    shown = as_input(pictures)
    assert torch.equal(network(shown), shown)
    network.calibrate(shown)
    assert np.array_equal(PostFilter(network.export(), network.shape).filter(pictures), pictures)


def test_rounding_leaves_the_network_nearly_what_it_was():
    network = network_of(Shape(16, 2), 0, 1.0)
    shown = as_input(footage(2, 40, 40, 1))
    with torch.no_grad():
        rounded = network(shown)
        network.rounds = False
        assert (rounded - network(shown)).abs().mean() * MIDDLE < 2


def test_a_rounded_network_learns():
    """From pictures that are 9 levels too dark, in steps that are too small to be seen in a single rounded weight."""
    torch.manual_seed(0)
    network, shown = FilterNetwork(Shape(8, 1)), as_input(footage(4, 24, 24, 0) // 2)
    network.calibrate(shown)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        (network(shown) - shown - 9 / MIDDLE).square().mean().backward()
        optimizer.step()
    with torch.no_grad():
        assert ((network(shown) - shown) * MIDDLE).mean() == pytest.approx(9, abs=1)


def test_tensors_are_as_the_format_says():
    arrays = network_of(Shape(5, 2), 0, 1.0).export()
    rows = {
        "first": (5, 9 * NUMBERS),
        "last": (NUMBERS, 45),
        **{f"block{k}.{h}": (5, 45) for k in (1, 2) for h in "ab"},
    }
    assert set(arrays) == {f"postfilter.{name}.{part}" for name in rows for part in ("weight", "bias", "shift")}
    for name, shape in rows.items():
        weight, bias, shift = (arrays[f"postfilter.{name}.{part}"] for part in ("weight", "bias", "shift"))
        assert (weight.dtype, bias.dtype, shift.dtype) == (np.int8, np.int32, np.int8)
        assert (weight.shape, bias.shape, shift.shape) == (shape, shape[:1], shape[:1])


# What it refuses


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ([MAX_WIDTH, MAX_BLOCKS], None),
        ([1, 0], None),
        ([0, 1], LimitError),
        ([-1, 1], LimitError),
        ([MAX_WIDTH + 1, 1], LimitError),
        ([10**400, 1], LimitError),
        ([4, -1], LimitError),
        ([4, MAX_BLOCKS + 1], LimitError),
        ([4], CorruptFileError),
        ([4, 1, 1], CorruptFileError),
        ([4.0, 1], CorruptFileError),
        ([True, 1], CorruptFileError),
        (["4", "1"], CorruptFileError),
        ([[4], 1], CorruptFileError),
        ({"width": 4, "blocks": 1}, CorruptFileError),
        ("41", CorruptFileError),
        (4, CorruptFileError),
        (["x" * 100_000], CorruptFileError),
    ],
)
def test_shapes(value, error):
    if error is None:
        assert Shape.from_hyperparameter(value) == Shape(*value)
        return
    with pytest.raises(error) as raised:
        Shape.from_hyperparameter(value)
    assert len(str(raised.value)) < 600


@pytest.mark.parametrize("part", ["weight", "bias", "shift"])
@pytest.mark.parametrize("layer", ["first", "block1.a", "block1.b", "last"])
@pytest.mark.parametrize("fault", ["missing", "type", "shape", "value"])
def test_tensors_that_do_not_fit_are_refused(part, layer, fault):
    arrays, name = make_filter_arrays(4, 1), f"postfilter.{layer}.{part}"
    if fault == "missing":
        del arrays[name]
    elif fault == "type":
        arrays[name] = arrays[name].astype(np.int16)
    elif fault == "shape":
        arrays[name] = arrays[name][..., :-1]
    else:
        arrays[name] = np.full_like(arrays[name], {"weight": -128, "bias": 1 << 24, "shift": -1}[part])
    if (fault, part) == ("value", "weight"):  # no sum of so few leaves 24 bits
        assert PostFilter(arrays, Shape(4, 1)).filter(footage(1, 9, 9, 0)).shape == (1, 9, 9, 3)
        return
    with pytest.raises(CorruptFileError, match=r"the model's (layer )?postfilter"):
        PostFilter(arrays, Shape(4, 1))


def test_the_largest_sums_are_exact_and_larger_ones_refused():
    """Every product is of one sign, and the sum one below 2^24 in the last layer."""
    shape = Shape(MAX_WIDTH, 0)
    arrays = make_filter_arrays(shape.width, 0)
    arrays["postfilter.first.weight"][...] = 0
    arrays["postfilter.first.bias"][...], arrays["postfilter.first.shift"][...] = 255, 0
    weight = np.zeros((NUMBERS, 9 * MAX_WIDTH), np.int8)
    weight[:, : (1 << 24) // (255 * 127)] = 127
    left = (1 << 24) - 1 - 255 * int(weight[0].sum(dtype=np.int64))
    arrays["postfilter.last.weight"] = weight
    arrays["postfilter.last.bias"] = np.full(NUMBERS, left, np.int32)
    arrays["postfilter.last.shift"] = np.full(NUMBERS, 17, np.int8)
    pictures = np.zeros((1, 12, 12, 3), np.uint8)
    found = PostFilter(arrays, shape).filter(pictures)
    assert (found[0, 4:8, 4:8] == ((1 << 24) - 1) >> 17).all()
    arrays["postfilter.last.bias"] += 1
    with pytest.raises(CorruptFileError, match="exact in float32"):
        PostFilter(arrays, shape)


@pytest.mark.parametrize("shape", [Shape(48, 2), Shape(MAX_WIDTH, 0), Shape(3, MAX_BLOCKS)])
def test_it_takes_the_memory_that_it_says(shape):
    pictures, corrector = footage(2, 330, 330, 0), filter_of(shape)
    tracemalloc.start()
    try:
        corrector.filter(pictures)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert shape.memory / 3 < peak < shape.memory + 4 * pictures.nbytes  # a copy of even sides, the result, and it cut


def test_memory_that_is_not_allowed_is_not_taken(monkeypatch):
    monkeypatch.setenv(limits.MEMORY_VARIABLE, "8")
    with pytest.raises(LimitError, match=r"post-filter takes \d+ MiB of memory, allowed are 8; set PACODEC_MEMORY"):
        filter_of(Shape(48, 2))


# Files


FRAMES = 12


def grainy(frames=FRAMES):
    """Pictures in the colours that the model knows, with noise of few levels."""
    noise = np.random.default_rng(0)
    shown = [screen(number).astype(int) for number in range(frames)]
    return [(rgb + noise.integers(-6, 7, rgb.shape)).clip(0, 255).astype(np.uint8) for rgb in shown]


def darkening():
    """A post-filter that makes everything darker by 5 levels."""
    arrays = {name: np.zeros_like(values) for name, values in make_filter_arrays(4, 1).items()}
    arrays["postfilter.last.bias"][...] = -5
    return arrays


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model of noisy footage whose post-filter has effects that can be foreseen."""
    path = tmp_path_factory.mktemp("home") / "darker.pacmodel"
    path.write_bytes(recording_model(COLOURS, arrays=darkening(), noise=8, postfilter=[4, 1]))
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("clips") / "grainy.mkv", grainy())


@pytest.fixture(scope="module")
def coded(clip, model):
    target = clip.with_suffix(".pac")
    pacodec.encode(str(clip), str(target), model=str(model), gop_seconds=0.2)
    return target


def decoded(path, model, **options):
    with pacodec.Decoder(path, model=str(model), **options) as video:
        return np.stack(list(video))


@pytest.mark.parametrize("quality", [1, 2, 3, 4, 5])
def test_every_quality_is_filtered(quality, clip, model, tmp_path):
    target = tmp_path / "out.pac"
    result = cli("encode", clip, target, "-m", model, "-q", quality, "--verify", "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["transform"] == "filtered"
    with pacodec.open(target, model=str(model)) as video:
        assert video.metadata.transform == "filtered"
        codes = np.stack([video.codes(number) for number in range(FRAMES)])
        shown = np.stack(list(video))
    assert np.array_equal(shown, np.maximum(COLOURS[codes[:, 0]].astype(int) - 5, 0))
    assert pacodec.verify(target, model=str(model)) == []


def test_lossless_is_exact_and_not_filtered(clip, model, tmp_path):
    report = pacodec.encode(str(clip), str(tmp_path / "out.pac"), model=str(model), lossless=True, verify=True)
    assert report.transform in ("palette", "shades")
    assert np.array_equal(decoded(tmp_path / "out.pac", model), grainy())


@pytest.mark.parametrize(("least", "transforms"), [(25, {"filtered"}), (45, {"palette"}), (95, {"palette", "shades"})])
def test_the_least_psnr_is_reached_with_it_or_without(least, transforms, clip, model, tmp_path):
    report = pacodec.encode(str(clip), str(tmp_path / "out.pac"), model=str(model), quality=1, min_psnr=least)
    assert report.psnr >= least
    assert report.transform in transforms


def test_the_psnr_is_that_of_filtered_pictures(clip, model, tmp_path):
    report = pacodec.encode(str(clip), str(tmp_path / "out.pac"), model=str(model), min_psnr=1)
    error = np.square(decoded(tmp_path / "out.pac", model).astype(float) - grainy()).mean((1, 2, 3))
    assert report.psnr == pytest.approx(10 * np.log10(255**2 / error.mean()), abs=0.01)
    assert report.psnr_low == pytest.approx(10 * np.log10(255**2 / error.max()), abs=0.01)


def test_pictures_come_back_in_any_order_and_by_any_number_of_threads(coded, model):
    shown = decoded(coded, model)
    with pacodec.Decoder(coded, model=str(model)) as video:
        for number in (9, 3, 4, 11, 0, 10, 5, 9):
            assert np.array_equal(video[number], shown[number])
        assert np.array_equal(np.stack(video[3:11]), shown[3:11])
    assert np.array_equal(decoded(coded, model, jobs=2), shown)


def test_the_command_line_decodes_it(coded, model, tmp_path):
    result = cli("decode", coded, tmp_path / "out.mkv", "-m", model, "--lossless")
    assert result.exit_code == 0, result.stderr
    report = pacodec.encode(str(tmp_path / "out.mkv"), str(tmp_path / "again.pac"), lossless=True)
    assert report.frames == FRAMES
    with pacodec.open(tmp_path / "again.pac") as video:
        assert np.array_equal(np.stack(list(video)), decoded(coded, model))


def test_info_names_it_without_the_model(coded):
    found = json.loads(cli("info", coded, "--json").stdout)
    assert (found["transform"], found["quantizer"], found["model"]) == ("filtered", "palette", "darker")


def test_without_the_model_there_are_no_pictures(coded, tmp_path):
    result = cli("decode", coded, tmp_path / "out.mkv")
    assert result.exit_code == 4
    assert "the model darker (sha256 " in result.stderr


@pytest.mark.parametrize("noise", [0, None])
def test_a_model_of_clean_footage_filters_nothing(noise, clip, tmp_path):
    model = recording_model(COLOURS, arrays=make_filter_arrays(4, 1), noise=noise, postfilter=[4, 1])
    (tmp_path / "clean.pacmodel").write_bytes(model)
    report = pacodec.encode(str(clip), str(tmp_path / "out.pac"), model=str(tmp_path / "clean.pacmodel"))
    assert report.transform == "palette"


def test_a_model_of_noisy_footage_may_have_no_post_filter(clip, tmp_path):
    (tmp_path / "old.pacmodel").write_bytes(recording_model(COLOURS, noise=8))
    report = pacodec.encode(str(clip), str(tmp_path / "out.pac"), model=str(tmp_path / "old.pacmodel"))
    assert report.transform == "palette"


@pytest.mark.parametrize(("shape", "exit_code"), [([5, 1], 3), ([4], 3), ([4, 9], 5), ([10**30, 1], 5)])
def test_encoding_by_a_model_whose_post_filter_is_malformed(shape, exit_code, clip, tmp_path):
    model = recording_model(COLOURS, arrays=make_filter_arrays(4, 1), noise=8, postfilter=shape)
    (tmp_path / "odd.pacmodel").write_bytes(model)
    result = cli("encode", clip, tmp_path / "out.pac", "-m", tmp_path / "odd.pacmodel")
    assert result.exit_code == exit_code
    (line,) = result.stderr.splitlines()
    assert "post" in line
    assert not (tmp_path / "out.pac").exists()


def test_a_random_post_filter_end_to_end(clip, tmp_path):
    """What a file's pictures are, computed plainly."""
    (tmp_path / "wild.pacmodel").write_bytes(
        recording_model(COLOURS, arrays=make_filter_arrays(7, 2), noise=8, postfilter=[7, 2])
    )
    pacodec.encode(str(clip), str(tmp_path / "out.pac"), model=str(tmp_path / "wild.pacmodel"))
    with pacodec.open(tmp_path / "out.pac", model=str(tmp_path / "wild.pacmodel")) as video:
        codes = np.stack([video.codes(number)[0] for number in range(FRAMES)])
    shown = decoded(tmp_path / "out.pac", tmp_path / "wild.pacmodel")
    assert np.array_equal(shown, plainly(Shape(7, 2), COLOURS[codes]))
