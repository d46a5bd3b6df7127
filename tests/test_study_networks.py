"""What the study's networks are made of: components, linear starts, quantization learned inside."""

import numpy as np
import pytest
import torch

from pacodec.autoencoders.components import principal_components
from pacodec.autoencoders.layers import GroupLinear
from pacodec.autoencoders.learned_quantization import LearnedQuantization
from pacodec.autoencoders.neural import NeuralTransform
from pacodec.autoencoders.quantizers import QUANTIZERS
from pacodec.autoencoders.registry import build
from pacodec.errors import CorruptFileError, LimitError
from pacodec.models.files import ModelFile
from pacodec.training.autoencoder import package
from pacodec.training.fit import fit, fit_in_phases, measure_psnr, to_images
from pacodec.training.loop import TrainingPlan, saved_plan, shorten

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
SIZE = {"height": 24, "width": 32}


def pictures(n=24, height=24, width=32, seed=0):
    """A square that moves over a background, uint8 [n, height, width, 3]."""
    rng = np.random.default_rng(seed)
    background = rng.integers(0, 256, (height // 8, width // 8, 3)).repeat(8, 0).repeat(8, 1)
    frames = np.stack([background] * n).astype(np.uint8)
    for number, frame in enumerate(frames):
        top, left = number * 3 % (height - 6), number * 5 % (width - 6)
        frame[top : top + 6, left : left + 6] = (250, 220, 0)
    return frames


def images(**options):
    return to_images(pictures(**options), CPU)


def psnr(network, frames):
    return float(measure_psnr(network, [frames], CPU).mean())


# Principal components


def samples(n, d, k, seed=0):
    """Samples [n, d] of k directions, each of half the energy of the one before."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.linalg.qr(torch.randn(d, k, generator=generator))[0].T
    return torch.randn(n, k, generator=generator) * 2.0 ** -torch.arange(k) @ directions + 3, directions


@pytest.mark.parametrize("n", [30, 500])  # fewer samples than dimensions, and more
def test_components_are_the_directions_of_most_variance(n):
    x, _ = samples(n, 60, 6)
    found = principal_components([x], 4)
    reference = torch.linalg.svd(x - x.mean(0))[2][:4]
    assert torch.allclose((found.directions[0] @ reference.T).abs(), torch.eye(4), atol=1e-3)
    scores = (x - found.mean[0]) @ found.directions[0].T
    assert torch.allclose(scores.amin(0), found.low[0], atol=1e-4)
    assert torch.allclose(scores.amax(0), found.high[0], atol=1e-4)


def test_a_block_that_never_changes_has_components_that_do_no_harm():
    still = np.full((20, 24, 32, 3), 90, np.uint8)
    still[:, 20:, 28:] = pictures(20)[:, 20:, 28:]
    network = build("pca", {**SIZE, "rank": 16})
    network.initialise(to_images(still, CPU))
    assert psnr(network, still) > 40


def test_more_components_are_better_and_all_of_them_are_exact():
    frames = pictures(24)
    reached = []
    for rank in (1, 4, 12, 24):
        network = build("pca", {**SIZE, "rank": rank})
        network.initialise(to_images(frames, CPU))
        reached.append(psnr(network, frames))
    assert reached == sorted(reached)
    assert reached[-1] > 45


@pytest.mark.parametrize("arch", ["vanilla-500", "multilayer-500"])
def test_a_fully_connected_network_starts_as_good_as_pca(arch):
    frames = pictures(24)
    components = principal_components((block.flatten(1) for block in blocks(frames)), 8)
    pca, network = build("pca", {**SIZE, "rank": 8}), build(arch, {**SIZE, "rank": 8})
    pca.begin(components)
    network.begin(components)
    assert psnr(network, frames) == pytest.approx(psnr(pca, frames), abs=0.3)


def test_codes_of_components_use_their_range_and_no_frame_leaves_it():
    x = images(n=24)
    network = build("pca", {**SIZE, "rank": 8})
    network.initialise(x)
    with torch.inference_mode():
        codes = network.encode(x).permute(2, 3, 1, 0).reshape(16, 8, 24)
    width = codes.amax(-1) - codes.amin(-1)
    assert width.max() <= 0.9 + 1e-3
    assert (width[width > 0.1] > 0.88).all()  # a wide component fills the range
    assert width.min() < 0.1  # a narrow one need not
    assert codes.min() > 0.04
    assert codes.max() < 0.96


def test_normalisation_keeps_moving_until_the_network_is_settled(monkeypatch):
    frozen = []
    monkeypatch.setattr("pacodec.training.fit.freeze_normalisation", frozen.append)
    for arch, expected in (("conv4", 20), ("vae", 3)):
        frozen.clear()
        torch.manual_seed(0)
        network = build(arch, {} if arch == "conv4" else {**SIZE, "rank": 4})
        plan = TrainingPlan(20, arch=arch, batch=2, crop=32, validate_every=20)
        fit(network, [pictures(4)], [pictures(1)], plan, device=CPU)
        assert len(frozen) == expected


@pytest.mark.parametrize(("outputs", "inputs"), [(5, 20), (20, 5), (5, 5)])
def test_a_factorised_layer_takes_any_map_that_its_rank_allows(outputs, inputs):
    """Alike rows too: singular values that repeat made LAPACK give up on components that share a unit."""
    layer = GroupLinear(2, 24, 30, rank=5)
    square = torch.eye(max(outputs, inputs))[:outputs, :inputs]
    for weight in (torch.randn(2, outputs, inputs), square.expand(2, -1, -1), torch.zeros(2, outputs, inputs)):
        with torch.no_grad():
            layer.assign(weight, torch.ones(2, 1, outputs))
        made = layer(torch.cat([torch.eye(inputs), torch.zeros(inputs, 24 - inputs)], 1).expand(2, -1, -1))
        assert torch.allclose(made[..., :outputs], weight.mT + 1, atol=1e-5)
        assert not made[..., outputs:].any()


def test_minutes_become_steps_whatever_a_run_does_once(monkeypatch, tmp_path):
    """Looking for motion in all frames took longer than the steps that were timed, and training a third of its time."""
    clock = [0.0]

    def slow(clip):
        clock[0] += 1000
        return np.ones((len(clip), 1, 1), np.bool_)

    def loss(network, images):
        clock[0] += 1
        return sum(parameter.sum() for parameter in network.parameters()) * 0

    monkeypatch.setattr("pacodec.training.fit.monotonic", lambda: clock[0])
    monkeypatch.setattr("pacodec.training.loop.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("pacodec.training.fit.motion_cells", slow)
    monkeypatch.setattr("pacodec.autoencoders.conv.ConvAutoencoder.loss", loss)
    network, plan = build("conv4", {}), TrainingPlan(1, arch="conv4", batch=2, crop=32)
    where = {"device": CPU, "checkpoint": tmp_path / "checkpoint"}
    assert fit_in_phases(network, [pictures(4)], [pictures(1)], plan, minutes=0.5, **where) == 30


def test_training_that_only_does_harm_is_undone():
    frames = pictures(24)
    network = build("pca", {**SIZE, "rank": 8})
    network.initialise(to_images(frames, CPU))
    before = psnr(network, frames)
    plan = TrainingPlan(3, arch="pca", batch=4, learning_rate=1.0, validate_every=1)
    fit(network, [frames], [frames], plan, device=CPU)
    assert psnr(network, frames) == pytest.approx(before, abs=1e-3)


def test_a_run_that_would_take_too_long_ends_early(tmp_path):
    checkpoint, plan = tmp_path / "checkpoint", TrainingPlan(40, arch="conv4", batch=2, crop=32, validate_every=4)

    def interrupt(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(build("conv4", {}), [pictures(4)], [pictures(1)], plan, device=CPU, checkpoint=checkpoint, report=interrupt)
    shorten(checkpoint, 1e6)
    assert saved_plan(checkpoint) == plan
    shorten(checkpoint, 0)
    short = saved_plan(checkpoint)
    assert short.steps == 5
    reached = []
    fit(
        build("conv4", {}), [pictures(4)], [pictures(1)], short, device=CPU, checkpoint=checkpoint,
        report=lambda progress: reached.append(progress.step),
    )  # fmt: skip
    assert reached == [5]
    checkpoint.write_bytes(b"no checkpoint")
    with pytest.raises(CorruptFileError):
        shorten(checkpoint, 1)


def blocks(frames):
    x = to_images(frames, CPU)
    return [x[:, :, r : r + 6, c : c + 8] for r in range(0, 24, 6) for c in range(0, 32, 8)]


# Linear starts


@pytest.mark.parametrize("arch", ["conv4", "conv5"])
def test_convolutions_start_far_better_than_chance(arch):
    frames = pictures(48, 64, 64)
    torch.manual_seed(0)
    network = build(arch, {})
    by_chance = psnr(network, frames)
    network.initialise(to_images(frames, CPU))
    assert psnr(network, frames) > by_chance + 3


@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize("arch", ["conv4", "conv5", "vae", "pca", "vanilla-500"])
def test_flat_pictures_start_a_network_too(arch, value):
    hyperparameters = {} if arch.startswith("conv") else {**SIZE, "rank": 4}
    network = build(arch, hyperparameters)
    network.initialise(torch.full((3, 3, 24, 32), value / 255))
    for tensor in network.state_dict().values():
        assert torch.isfinite(tensor.float()).all()


def test_a_small_vae_takes_over_the_first_codes_of_a_large_one():
    frames = pictures(40, 48, 64)
    size = {"height": 48, "width": 64}
    torch.manual_seed(0)
    large, small = build("vae", {**size, "rank": 0}), build("vae", {**size, "rank": 12})
    large.initialise(to_images(frames, CPU))
    large.begin_phase(to_images(frames, CPU))
    small.take_over(large)
    assert psnr(large, frames) > 13
    assert psnr(small, frames) > psnr(large, frames) - 6


# Quantization learned inside


@pytest.fixture
def learned():
    """A network of 16 levels that has seen the pictures, not trained."""
    network = build("pca", {**SIZE, "rank": 6, "levels": 16})
    network.inner.initialise(images())
    network.initialise(images())
    return network


def test_codes_are_levels_that_8_bits_keep_exactly(learned):
    with torch.inference_mode():
        codes = learned.encode(images()).numpy()
    assert 2 < len(np.unique(codes)) <= 16
    for name in ("naive", "kmeans"):
        quantizer = QUANTIZERS[name]
        parameters = quantizer.fit(codes, 16)
        back = quantizer.dequantize(quantizer.quantize(codes, parameters), parameters)
        assert np.abs(back - codes).max() < 1e-6
        assert quantizer.quantize(codes, parameters).max() <= (255 if name == "naive" else 15)


def test_learned_levels_beat_even_ones(learned):
    x = images()
    with torch.inference_mode():
        latents = learned.inner.encode(x)
        even = torch.round(latents * 15) / 15
        by_learned = (learned.decode(learned.encode(x)) - x).square().mean()
        by_even = (learned.inner.decode(even) - x).square().mean()
    assert by_learned < by_even


def test_the_gradient_passes_the_rounding_and_reaches_the_levels(learned):
    learned.low.data += 0.02
    before = learned.loss(images()).item()
    optimizer = torch.optim.Adam([learned.low, learned.step], 2e-4)
    for _ in range(30):
        optimizer.zero_grad()
        loss = learned.loss(images())
        loss.backward()
        assert learned.low.grad.abs().sum() > 0
        assert learned.step.grad.abs().sum() > 0
        optimizer.step()
    assert learned.loss(images()).item() < before


@pytest.mark.parametrize("arch", ["conv4", "vae", "multilayer-500"])
def test_a_model_file_with_levels_comes_back(arch):
    hyperparameters = {} if arch.startswith("conv") else {**SIZE, "rank": 4}
    network = build(arch, {**hyperparameters, "levels": 4})
    assert isinstance(network, LearnedQuantization)
    network.initialise(images(n=4))
    data, _ = package(network.eval(), arch, {}, [pictures(2)])
    coder = NeuralTransform(ModelFile.parse(data, arch, arch), "cpu")
    latents = coder.analyse(pictures(2))
    assert len(np.unique(latents)) <= 4
    assert coder.synthesise(latents, 24, 32).shape == (2, 24, 32, 3)


@pytest.mark.parametrize(
    ("levels", "error"), [(1, LimitError), (257, LimitError), (-3, LimitError), (2.5, CorruptFileError)]
)
def test_levels_out_of_range(levels, error):
    with pytest.raises(error):
        build("conv4", {"levels": levels})
