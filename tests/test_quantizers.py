"""Latents to codes and back: error bounds, the zero point, centroids, and parameters from hostile files."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pacodec.autoencoders.quantizers import QUANTIZERS, kmeans_scalars
from pacodec.errors import CorruptFileError, UsageError

NONE, NAIVE, SCALE, KMEANS = (QUANTIZERS[name] for name in ("none", "naive", "scale", "kmeans"))
floats = st.floats(0, 1, width=32, allow_subnormal=False)
shapes = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))
latents_of_any_kind = arrays(np.float32, shapes, elements=floats)


def draws(low, high, shape=(8, 16, 6, 5), seed=0):
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def peaked(shape=(8, 16, 10, 8), seed=0):
    """Latents as networks have them: most of them near few values, some far out."""
    rng = np.random.default_rng(seed)
    return np.clip(rng.laplace(rng.choice([0.2, 0.5], shape), 0.03), 0, 1).astype(np.float32)


def through(quantizer, latents, levels=256):
    parameters = quantizer.fit(latents, levels)
    return quantizer.dequantize(quantizer.quantize(latents, parameters), parameters)


def mean_square(a, b):
    return float(np.square(a.astype(float) - b).mean())


@given(arrays(np.float32, shapes, elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_none_keeps_every_bit(latents):
    codes = NONE.quantize(latents, {})
    n, channels, height, width = latents.shape
    assert codes.shape == (n, 4 * channels, height, width)
    assert NONE.dequantize(codes, {}).tobytes() == latents.tobytes()


def test_none_is_byte_planes_least_significant_first():
    latents = np.array([1.0, 2.0], np.float32).reshape(1, 2, 1, 1)  # 3f800000, 40000000
    assert NONE.quantize(latents, {}).ravel().tolist() == [0, 0, 0, 0, 0x80, 0, 0x3F, 0x40]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_read_as_zero(value):
    latents = np.full((1, 2, 3, 4), value, np.float32)
    assert not NONE.dequantize(NONE.quantize(latents, {}), {}).any()


@given(latents_of_any_kind)
def test_naive_is_within_half_a_step(latents):
    assert np.abs(through(NAIVE, latents) - latents).max() <= 0.5 / 255 + 1e-6


def test_naive_clips_what_is_outside():
    latents = np.array([-3, 0, 1, 7], np.float32).reshape(1, 1, 1, 4)
    assert NAIVE.quantize(latents, {}).ravel().tolist() == [0, 0, 255, 255]


@given(latents_of_any_kind, st.integers(2, 256))
def test_scale_is_within_half_a_step_of_the_range_that_is_there(latents, levels):
    parameters = SCALE.fit(latents, levels)
    codes = SCALE.quantize(latents, parameters)
    assert codes.max() < levels
    step = float(latents.max() - latents.min()) / (levels - 1)
    assert np.abs(SCALE.dequantize(codes, parameters) - latents).max() <= step / 2 + 1e-6


def test_scale_has_a_zero_point():
    """Latents in a narrow band lose as little as those that fill the range; without a zero point it is 20 dB more."""
    latents = draws(0.4, 0.5)
    step = 0.1 / 255
    assert mean_square(through(SCALE, latents), latents) < 1.2 * step**2 / 12
    assert mean_square(through(SCALE, latents), latents) < mean_square(through(NAIVE, latents), latents) / 50


def test_channels_of_many_values_have_a_range_of_their_own():
    """One channel fills the range, the others tenths of it: those lose a hundredth of what they would."""
    latents = draws(0.4, 0.5)
    latents[:, 0] = draws(0, 1, latents[:, 0].shape, seed=1)
    parameters = SCALE.fit(latents, 256)
    assert len(parameters["channels"]) == 2 * 16
    decoded = SCALE.dequantize(SCALE.quantize(latents, parameters), parameters)
    whole = {key: value for key, value in parameters.items() if key != "channels"}
    common = SCALE.dequantize(SCALE.quantize(latents, whole), whole)
    assert mean_square(decoded[:, 0], latents[:, 0]) == pytest.approx(mean_square(common[:, 0], latents[:, 0]), rel=0.1)
    assert mean_square(decoded[:, 1:], latents[:, 1:]) < mean_square(common[:, 1:], latents[:, 1:]) / 50


def test_ranges_of_channels_cost_no_more_than_a_hundredth_of_the_codes():
    assert "channels" not in SCALE.fit(draws(0, 1, (199, 4, 1, 1)), 256)
    assert len(SCALE.fit(draws(0, 1, (200, 4, 1, 1)), 256)["channels"]) == 200 * 4 / 100


@pytest.mark.parametrize("quantizer", [SCALE, KMEANS], ids=lambda quantizer: quantizer.name)
def test_latents_that_are_all_alike(quantizer):
    latents = np.full((2, 3, 4, 5), 0.3, np.float32)
    assert np.allclose(through(quantizer, latents), latents)


@pytest.mark.parametrize("levels", [2, 16, 64, 256])
def test_kmeans_beats_scale(levels):
    latents = peaked((2, 64, 10, 8))  # too few values a channel for a range of its own
    assert mean_square(through(KMEANS, latents, levels), latents) < 0.75 * mean_square(
        through(SCALE, latents, levels), latents
    )


@pytest.mark.parametrize("levels", [2, 7, 256])
def test_kmeans_is_at_a_fixed_point_of_lloyds_algorithm(levels):
    values = peaked().ravel()
    centroids = kmeans_scalars(values, levels)
    nearest = np.searchsorted((centroids[1:] + centroids[:-1]) / 2, values)
    means = np.bincount(nearest, values, levels) / np.maximum(np.bincount(nearest, minlength=levels), 1)
    moved = np.where(np.bincount(nearest, minlength=levels) > 0, means, centroids)
    before = mean_square(centroids[nearest], values)
    after = mean_square(moved[nearest], values)
    assert after <= before
    assert before - after < 0.01 * before


@given(arrays(np.float32, shapes, elements=st.sampled_from([0.0, 0.25, 0.3, 0.30000001, 0.99, 1.0])))
def test_kmeans_keeps_few_distinct_values_exactly(latents):
    assert np.array_equal(through(KMEANS, latents, 8), latents)


def test_kmeans_sees_values_that_only_one_frame_has():
    latents = np.zeros((40, 4, 4, 4), np.float32)
    latents[17, 2, 1, 3] = 0.7
    assert np.array_equal(through(KMEANS, latents, 2), latents)


@given(latents_of_any_kind, st.integers(2, 256))
def test_kmeans_codebooks_are_ascending_and_no_longer_than_the_levels(latents, levels):
    codebook = np.frombuffer(KMEANS.fit(latents, levels)["codebook"], "<f4")
    assert 1 <= len(codebook) <= levels
    assert (np.diff(codebook) >= 0).all()


@given(latents_of_any_kind)
def test_kmeans_takes_the_nearest_centroid(latents):
    codebook = np.array([0, 0.1, 0.5, 0.9], "<f4")
    decoded = KMEANS.dequantize(
        KMEANS.quantize(latents, {"codebook": codebook.tobytes()}), {"codebook": codebook.tobytes()}
    )
    nearest = np.abs(latents[..., None] - codebook).min(-1)
    assert np.allclose(np.abs(decoded - latents), nearest, atol=1e-6)


@pytest.mark.parametrize("name", QUANTIZERS)
def test_codes_are_bytes_in_the_shape_that_is_promised(name):
    quantizer, latents = QUANTIZERS[name], peaked((2, 3, 4, 5))
    codes = quantizer.quantize(latents, quantizer.fit(latents, 256))
    assert codes.dtype == np.uint8
    assert codes.shape == (2, 3 * quantizer.bytes_per_value, 4, 5)
    decoded = quantizer.dequantize(codes, quantizer.fit(latents, 256))
    assert decoded.dtype == np.float32
    assert decoded.shape == latents.shape


@pytest.mark.parametrize("quantizer", [SCALE, KMEANS], ids=lambda quantizer: quantizer.name)
@pytest.mark.parametrize("levels", [-1, 0, 1, 257])
def test_levels_out_of_range(quantizer, levels):
    with pytest.raises(UsageError):
        quantizer.fit(draws(0, 1), levels)


@pytest.mark.parametrize(
    "change",
    [
        {"low": None},
        {"low": "0"},
        {"low": 0},
        {"low": float("nan")},
        {"low": -1e300},
        {"high": float("inf")},
        {"high": -0.5},
        {"high": 1e7},
        {"levels": 1},
        {"levels": 257},
        {"levels": 10**30},
        {"levels": 256.0},
        {"levels": True},
        {"channels": None},
        {"channels": [0, 255]},
        {"channels": b""},
        {"channels": bytes([0])},
        {"channels": bytes([0, 255] * 2)},
        {"channels": bytes([9, 8])},
    ],
)
def test_hostile_scale_parameters(change):
    codes, good = np.zeros((1, 1, 2, 2), np.uint8), {"low": 0.0, "high": 1.0, "levels": 256}
    SCALE.dequantize(codes, good)
    with pytest.raises(CorruptFileError):
        SCALE.dequantize(codes, {**good, **change})


@pytest.mark.parametrize(
    "codebook",
    [
        None,
        "text",
        b"",
        bytes(3),
        bytes(5),
        bytes(4 * 257),
        [0.0, 1.0],
        np.array([0, np.nan], "<f4").tobytes(),
        np.array([0, np.inf], "<f4").tobytes(),
    ],
)
def test_hostile_codebooks(codebook):
    with pytest.raises(CorruptFileError):
        KMEANS.dequantize(np.zeros((1, 1, 2, 2), np.uint8), {"codebook": codebook})


@pytest.mark.parametrize("quantizer", [SCALE, KMEANS], ids=lambda quantizer: quantizer.name)
def test_parameters_must_be_there(quantizer):
    with pytest.raises(CorruptFileError):
        quantizer.dequantize(np.zeros((1, 1, 2, 2), np.uint8), {})


def test_a_code_beyond_the_codebook():
    codebook = {"codebook": np.zeros(3, "<f4").tobytes()}
    KMEANS.dequantize(np.full((1, 1, 1, 1), 2, np.uint8), codebook)
    with pytest.raises(CorruptFileError):
        KMEANS.dequantize(np.full((1, 1, 1, 1), 3, np.uint8), codebook)
