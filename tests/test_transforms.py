"""Pictures to codes and back: the palette's promises, and what every autoencoder owes to the codec around it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pacodec.autoencoders.neural import NeuralTransform
from pacodec.autoencoders.quantizers import QUANTIZERS
from pacodec.autoencoders.registry import ARCHITECTURES, build
from pacodec.common.pixels import resize
from pacodec.errors import CorruptFileError, LimitError, PacodecError, UnsupportedError
from pacodec.models.files import ModelFile
from pacodec.training.autoencoder import package
from pacodec.training.fit import to_images
from pacodec.transforms.palette import MAX_CORRECTION_STEP, PaletteTransform, learn_palette

pytestmark = pytest.mark.usefixtures("one_thread")

FIXED = {"height": 24, "width": 40, "rank": 3}
SMALL = {arch: {} if arch.startswith("conv") else FIXED for arch in ARCHITECTURES}
CONVOLUTIONAL = [arch for arch in ARCHITECTURES if arch.startswith("conv")]
OF_ONE_SIZE = [arch for arch in ARCHITECTURES if not arch.startswith("conv")]

pictures_of_any_kind = arrays(np.uint8, st.tuples(st.integers(1, 2), st.integers(1, 6), st.integers(1, 6), st.just(3)))


def noise(n, height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, height, width, 3)).astype(np.uint8)


def through(palette, pictures):
    return palette.decode(palette.encode(pictures))


def mean_square(a, b):
    return np.square(a.astype(float) - b).mean()


def trained(arch, seed=3):
    """A network whose normalisation has statistics of its own, as after training."""
    torch.manual_seed(seed)
    network = build(arch, SMALL[arch])
    height, width = network.size or (40, 56)
    images = to_images(noise(6, height, width), torch.device("cpu"))
    network.initialise(images)
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network.loss(images)
    return network.eval()


def transform(arch):
    network = trained(arch)
    height, width = network.size or (24, 40)
    data, _ = package(network, arch, {}, [noise(1, height, width)])
    return NeuralTransform(ModelFile.parse(data, arch, arch), "cpu")


# The palette


@given(pictures_of_any_kind)
def test_few_colours_are_kept_exactly(pictures):
    palette = PaletteTransform(learn_palette([pictures]))
    assert len(palette.palette) == len(np.unique(pictures.reshape(-1, 3), axis=0))
    assert np.array_equal(through(palette, pictures), pictures)


@pytest.mark.parametrize("colours", [1, 2, 16, 255, 256])
def test_a_learned_palette_is_no_larger_than_asked_for_and_has_no_colour_twice(colours):
    palette = learn_palette([noise(2, 30, 30), noise(1, 20, 30, seed=1)], colours)
    assert palette.dtype == np.uint8
    assert 1 <= len(palette) <= colours
    assert len(np.unique(palette, axis=0)) == len(palette)


def test_learned_colours_beat_evenly_spread_ones():
    y, x = np.mgrid[:48, :64]
    picture = np.stack([60 + x, 80 + y, 100 + (x + y) // 2], -1).astype(np.uint8)[None]
    levels = np.linspace(0, 255, 6).round().astype(np.uint8)
    even = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(-1, 3)
    learned = learn_palette([picture], len(even))
    errors = [mean_square(through(PaletteTransform(colours), picture), picture) for colours in (learned, even)]
    assert errors[0] < errors[1] / 20


def test_common_colours_get_the_palette():
    picture = np.full((1, 40, 40, 3), 10, np.uint8)
    picture[0, :20] = 200
    picture[0, 0, :8] = noise(1, 1, 8)[0]
    decoded = through(PaletteTransform(learn_palette([picture], 3)), picture)
    assert np.abs(decoded[0, 1:].astype(int) - picture[0, 1:]).max() <= 2


def test_codes_are_the_nearest_colours():
    pictures, colours = noise(1, 12, 12), noise(1, 1, 40, seed=2)[0, 0]
    codes = PaletteTransform(colours).encode(pictures)
    distances = np.square(pictures[0, :, :, None].astype(int) - colours.astype(int)).sum(-1)
    taken = np.take_along_axis(distances, codes[0, 0][..., None].astype(int), -1)[..., 0]
    assert np.array_equal(taken, distances.min(-1))


def test_room_takes_up_colours_that_the_sample_did_not_show():
    seen, unseen = noise(1, 4, 4), noise(1, 5, 5, seed=9)
    palette = PaletteTransform(learn_palette([seen]), room=30)
    header = palette.parameters
    codes = palette.encode(seen), palette.encode(unseen)
    assert palette.parameters == header
    later = PaletteTransform.from_parameters({**header, **palette.additions()})
    assert np.array_equal(later.decode(codes[0]), seen)
    assert np.array_equal(later.decode(codes[1]), unseen)
    assert np.array_equal(PaletteTransform.from_parameters(header).decode(codes[0]), seen)


def test_colours_are_added_only_while_there_is_room():
    palette = PaletteTransform(noise(1, 1, 5)[0, 0], room=7)
    palette.encode(noise(1, 8, 8, seed=4))
    assert len(palette.additions()["added"]) == 3 * 7
    palette.encode(noise(1, 8, 8, seed=5))
    assert len(palette.palette) == 12


@given(pictures_of_any_kind, arrays(np.uint8, st.tuples(st.integers(1, 5), st.just(3))))
def test_corrections_of_step_1_make_any_picture_exact(pictures, colours):
    assert np.array_equal(through(PaletteTransform(colours, 1), pictures), pictures)


@given(pictures_of_any_kind, st.integers(2, MAX_CORRECTION_STEP), st.sampled_from([0, 77, 255]))
def test_corrections_bound_the_error(pictures, step, grey):
    decoded = through(PaletteTransform(np.full((1, 3), grey, np.uint8), step), pictures)
    assert np.abs(decoded.astype(int) - pictures).max() <= step // 2


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5, 64])
def test_the_largest_errors_there_can_be_are_corrected(step):
    pictures = np.array([0, 1, 254, 255], np.uint8)[None, :, None, None].repeat(3, 3)
    for grey in (0, 255):
        decoded = through(PaletteTransform(np.full((1, 3), grey, np.uint8), step), pictures)
        assert np.abs(decoded.astype(int) - pictures).max() <= step // 2


def test_step_5_is_within_2_levels_of_noise():
    pictures = noise(2, 40, 40)
    palette = PaletteTransform(learn_palette([pictures]), 5)
    assert palette.grid(40, 40) == (4, 40, 40)
    assert np.abs(through(palette, pictures).astype(int) - pictures).max() == 2


@pytest.mark.parametrize(
    "change",
    [
        {"palette": b""},
        {"palette": bytes(4)},
        {"palette": bytes(3 * 257)},
        {"palette": "abc"},
        {"palette": None},
        {"added": bytes(3 * 255)},
        {"added": 7},
        {"correction_step": -1},
        {"correction_step": MAX_CORRECTION_STEP + 1},
        {"correction_step": 1.0},
        {"correction_step": True},
        {"correction_step": None},
    ],
)
def test_hostile_palette_parameters_are_refused(change):
    good = {"palette": bytes(range(6)), "correction_step": 0}
    PaletteTransform.from_parameters(good)
    with pytest.raises(CorruptFileError):
        PaletteTransform.from_parameters({**good, **change})


def test_palette_parameters_must_be_there():
    with pytest.raises(CorruptFileError):
        PaletteTransform.from_parameters({})


def test_a_code_beyond_the_palette_is_refused():
    palette = PaletteTransform(np.zeros((3, 3), np.uint8))
    palette.decode(np.full((1, 1, 2, 2), 2, np.uint8))
    with pytest.raises(CorruptFileError):
        palette.decode(np.full((1, 1, 2, 2), 3, np.uint8))


# Autoencoders


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_latents_are_in_the_unit_interval_whatever_the_input(arch):
    network = trained(arch)
    height, width = network.size or (33, 47)
    extremes = torch.stack([torch.zeros(3, height, width), torch.ones(3, height, width)])
    with torch.inference_mode():
        for images in (torch.rand(2, 3, height, width), extremes, 50 * torch.randn(2, 3, height, width)):
            latents = network.encode(images)
            assert latents.shape[1:] == network.grid(height, width)
            assert latents.min() >= 0
            assert latents.max() <= 1


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_folding_leaves_the_output_as_it_was(arch):
    network = trained(arch)
    height, width = network.size or (40, 56)
    images = to_images(noise(2, height, width, seed=8), torch.device("cpu"))
    with torch.inference_mode():
        before = network.encode(images)
        pictures = network.decode(before)
        network.fold()
        after = network.encode(images)
        assert torch.allclose(before, after, atol=1e-5)
        assert torch.allclose(pictures, network.decode(before), atol=1e-3)
    assert not any("norm" in name for name in network.state_dict())


@pytest.fixture(scope="module")
def convolutional():
    return {arch: transform(arch) for arch in CONVOLUTIONAL}


@settings(max_examples=12, deadline=None)
@given(arch=st.sampled_from(CONVOLUTIONAL), height=st.integers(1, 70), width=st.integers(1, 70))
def test_convolutional_networks_take_any_size(convolutional, arch, height, width):
    coder = convolutional[arch]
    latents = coder.analyse(noise(2, height, width))
    stride = 16 if arch == "conv4" else 32
    assert latents.shape == (2, *coder.grid(height, width))
    assert latents.shape[2:] == (-(-height // stride), -(-width // stride))
    pictures = coder.synthesise(latents, height, width)
    assert pictures.shape == (2, height, width, 3)
    assert pictures.dtype == np.uint8


@pytest.mark.parametrize("arch", OF_ONE_SIZE)
@pytest.mark.parametrize("size", [(24, 40), (17, 31), (50, 90), (1, 1)])
def test_networks_of_one_size_resize_in_and_out(arch, size):
    coder = transform(arch)
    latents = coder.analyse(noise(1, *size))
    assert latents.shape == (1, *coder.grid(*size))
    assert coder.synthesise(latents, *size).shape == (1, *size, 3)


@pytest.mark.parametrize("arch", ["conv4", "vanilla-500", "vae"])
def test_no_pictures_are_no_codes(arch):
    coder = transform(arch)
    latents = coder.analyse(np.empty((0, 24, 40, 3), np.uint8))
    assert latents.shape == (0, *coder.grid(24, 40))
    assert coder.synthesise(latents, 24, 40).shape == (0, 24, 40, 3)


@pytest.mark.parametrize("arch", ["vanilla-500", "multilayer-500"])
def test_the_start_of_training_is_the_principal_components(arch):
    rng = np.random.default_rng(1)
    basis, weights = rng.uniform(60, 195, (3, 24, 40, 3)), rng.dirichlet(np.ones(3), 20)
    pictures = np.rint(np.einsum("nk,khwc->nhwc", weights, basis)).astype(np.uint8)
    network = build(arch, FIXED)
    network.initialise(to_images(pictures, torch.device("cpu")))
    data, quality = package(network.eval(), arch, {}, [pictures])
    assert quality["psnr"] > 45
    coder = NeuralTransform(ModelFile.parse(data, arch, arch), "cpu")
    assert mean_square(coder.synthesise(coder.analyse(pictures), 24, 40), pictures) < 2


def test_pictures_do_not_depend_on_what_they_are_decoded_with():
    coder = transform("conv4")
    latents = coder.analyse(noise(5, 40, 50))
    together = coder.synthesise(latents, 40, 50)
    alone = np.concatenate([coder.synthesise(latents[i : i + 1], 40, 50) for i in range(5)])
    assert np.abs(together.astype(int) - alone).max() <= 1


@pytest.mark.parametrize("values", [np.nan, np.inf, 1e30, -1e30])
def test_hostile_latents_end_in_some_picture(values):
    coder, quantizer = transform("conv4"), QUANTIZERS["none"]
    latents = np.full((1, *coder.grid(20, 20)), values, np.float32)
    read = quantizer.dequantize(quantizer.quantize(latents, {}), {})
    assert coder.synthesise(read, 20, 20).shape == (1, 20, 20, 3)


def test_resizing_to_the_same_size_changes_nothing():
    pictures = noise(2, 9, 7)
    assert resize(pictures, 9, 7) is pictures
    assert resize(pictures, 4, 12).shape == (2, 4, 12, 3)
    assert (resize(np.full((1, 9, 7, 3), 93, np.uint8), 20, 3) == 93).all()


# What builds them


def test_an_unknown_architecture_is_unsupported():
    with pytest.raises(UnsupportedError, match="conv5"):
        build("conv6", {})


@pytest.mark.parametrize(
    ("arch", "hyperparameters", "error"),
    [
        ("conv4", {"height": 200}, CorruptFileError),
        ("vae", {"depth": 3}, CorruptFileError),
        ("vae", {"height": "200"}, CorruptFileError),
        ("vae", {"height": 200.0}, CorruptFileError),
        ("vae", {"rank": True}, CorruptFileError),
        ("vanilla-500", {"height": 202}, CorruptFileError),
        ("vanilla-500", {"width": 0}, LimitError),
        ("vanilla-500", {"width": -160}, LimitError),
        ("vanilla-500", {"width": 10**6}, LimitError),
        ("multilayer-1000", {"rank": -1}, LimitError),
        ("multilayer-1000", {"rank": 10**9}, LimitError),
        ("vae", {"height": 10**30}, LimitError),
    ],
)
def test_hyperparameters_that_do_not_fit_are_refused_before_memory_is_taken(arch, hyperparameters, error):
    with pytest.raises(error):
        build(arch, hyperparameters)


@settings(deadline=None)
@given(
    st.sampled_from(list(ARCHITECTURES)),
    st.dictionaries(
        st.sampled_from(["height", "width", "rank", "x"]), st.none() | st.integers() | st.text(max_size=3) | st.floats()
    ),
)
def test_any_hyperparameters_build_or_are_a_named_error(arch, hyperparameters):
    try:
        with torch.device("meta"):
            network = build(arch, hyperparameters, folded=True)
    except PacodecError:
        return
    assert set(hyperparameters) <= {"height", "width", "rank"}
    with torch.device("meta"):
        again = build(arch, network.hyperparameters, folded=True)
    assert shapes_of(again) == shapes_of(network)


def shapes_of(network):
    return {name: value.shape for name, value in network.state_dict().items()}
