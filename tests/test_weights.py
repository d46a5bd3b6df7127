"""Model files: what goes in comes out, the identity is that of the bytes, and nothing but named errors for the rest."""

import contextlib
import hashlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, save

from pacodec import limits
from pacodec.autoencoders.neural import load_autoencoder
from pacodec.autoencoders.registry import build
from pacodec.errors import CorruptFileError, FileAccessError, LimitError, PacodecError, UnsupportedError
from pacodec.models.files import FORMAT_VERSION, ModelFile, ModelInfo, dump

INFO = ModelInfo("vae", {"height": 24, "rank": 8, "width": 32}, {"clips": 3, "split": "none"}, {"psnr": 31.5})
METADATA = {"pacodec": "1", "arch": "conv4", "hyperparameters": "{}", "training": "{}", "quality": "{}"}


def parse(data):
    return ModelFile.parse(data, "m", "m.pacmodel")


def some_weights(seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"linear": (2, 9, 30), "bias": (2, 1, 9), "conv": (4, 3, 3, 3), "conv.bias": (4,)}
    return {name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}


def small_model(arch="vanilla-500", hyperparameters=None):
    network = build(arch, hyperparameters or {"height": 16, "width": 16, "rank": 2})
    network.fold()
    weights = {name: value.detach().numpy() for name, value in network.state_dict().items()}
    return weights, ModelInfo(arch, network.hyperparameters)


def with_header(header, rest=b""):
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + rest


# What goes in comes out


def test_the_metadata_comes_back():
    assert parse(dump(some_weights(), INFO)).info == INFO


def test_weights_come_back_within_their_precision():
    weights = some_weights()
    tensors = parse(dump(weights, INFO)).tensors()
    assert tensors.keys() == weights.keys()
    for name, values in weights.items():
        assert tensors[name].dtype == np.float32
        assert tensors[name].shape == values.shape
        assert np.allclose(tensors[name], values, rtol=2**-10, atol=0) or name == "linear"


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6))
def test_a_row_in_8_bits_is_within_half_a_step_of_its_own_scale(first, second):
    values = np.random.default_rng(2).uniform(-1, 1, (1, 2, 50)).astype(np.float32)
    values[0] *= np.array([[first], [second]], np.float32)
    stored = parse(dump({"x": values}, INFO)).tensors()["x"]
    half_steps = np.abs(values).max(-1, keepdims=True) / 127 / 2
    assert (np.abs(stored - values) <= half_steps * 1.001).all()


@pytest.mark.parametrize("shape", [(8, 4, 3, 3), (1, 16, 3, 3)])
def test_an_order_in_memory_of_its_own_changes_nothing(shape):
    """Convolutions are trained channels last."""
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    channels_last = values.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)
    assert dump({"x": channels_last}, INFO) == dump({"x": values}, INFO)


def test_biases_of_very_different_size_keep_their_precision():
    bias = np.array([-800.0, 0.3, 0.001], np.float32).reshape(1, 1, 3)
    assert np.array_equal(parse(dump({"bias": bias}, INFO)).tensors()["bias"], bias)


def test_rows_of_zeros():
    assert not parse(dump({"x": np.zeros((1, 3, 4), np.float32)}, INFO)).tensors()["x"].any()


def test_matrices_take_a_byte_a_value():
    assert len(dump({"x": np.ones((4, 100, 100), np.float32)}, INFO)) < 4 * 100 * 100 * 1.1


# Identity


def test_the_identity_is_the_sha256_of_the_bytes():
    data = dump(some_weights(), INFO)
    assert parse(data).sha256 == hashlib.sha256(data).digest()


def test_equal_models_are_equal_bytes_and_others_are_not():
    data = {dump(some_weights(), INFO) for _ in range(8)}
    assert len(data) == 1
    assert dump(some_weights(1), INFO) not in data
    assert dump(some_weights(), ModelInfo("vae", INFO.hyperparameters)) not in data


def test_a_file_is_read_with_its_name(tmp_path):
    path = tmp_path / "my.model.pacmodel"
    path.write_bytes(dump(some_weights(), INFO))
    model = ModelFile.read(path)
    assert model.name == "my.model"
    assert model.data == path.read_bytes()


def test_other_programs_can_read_it():
    assert load(dump(some_weights(), INFO))["linear@scale"].shape == (2, 9)


# Bad files


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"just some text, which is not a model",
        bytes(100),
        b"\x89PAC\r\n\x1a\n" + bytes(100),
        with_header([]),
        with_header({}),
        with_header({"__metadata__": None}),
        with_header({"__metadata__": {"format": "pt"}}),
        save({"x": np.zeros(3, np.float32)}),
        save({"x": np.zeros(3, np.float32)}, {"format": "pt"}),
        (30).to_bytes(8, "little") + b"{" * 30,
        (9).to_bytes(8, "little") + b'{"\xff\xff\xff"}x',
        (200_000).to_bytes(8, "little") + b'{"a":' * 40_000,
        (1000).to_bytes(8, "little") + b"{}",
    ],
)
def test_what_is_no_model_file(data):
    with pytest.raises(CorruptFileError, match=r"m\.pacmodel"):
        parse(data)


@pytest.mark.parametrize("key", METADATA)
def test_every_key_must_be_there(key):
    data = save({}, {name: value for name, value in METADATA.items() if name != key})
    with pytest.raises(CorruptFileError):
        parse(data)


@pytest.mark.parametrize(
    "change",
    [
        {"pacodec": "one"},
        {"hyperparameters": "[]"},
        {"hyperparameters": "{"},
        {"training": "7"},
        {"quality": "null"},
        {"quality": ""},
    ],
)
def test_metadata_that_is_not_what_it_should_be(change):
    with pytest.raises(CorruptFileError):
        parse(save({}, {**METADATA, **change}))


def test_a_newer_format_is_unsupported():
    with pytest.raises(UnsupportedError, match=str(FORMAT_VERSION + 1)):
        parse(save({}, {**METADATA, "pacodec": str(FORMAT_VERSION + 1)}))


@pytest.mark.parametrize("length", [limits.MAX_MODEL_HEADER_BYTES + 1, 1 << 40, (1 << 64) - 1])
def test_an_absurd_header_length_is_over_the_limit(length):
    with pytest.raises(LimitError):
        parse(length.to_bytes(8, "little") + b"{}")


@pytest.mark.parametrize(
    "tensor",
    [
        {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 4 * 10**18]},
        {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 0]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]},
        {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]},
        {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]},
        {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]},
        {"dtype": "I32", "shape": [1], "data_offsets": [0, 4]},
        {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]},
        {"shape": [1]},
    ],
)
def test_absurd_tensors_are_refused(tensor):
    model = parse(with_header({"__metadata__": METADATA, "x": tensor}, bytes(8)[: tensor.get("data_offsets", [4])[-1]]))
    with pytest.raises(CorruptFileError):
        model.tensors()


def test_8_bit_rows_need_their_scales():
    values = np.ones((2, 3, 4), np.int8)
    for others in ({}, {"x@scale": np.ones((2, 4), np.float32)}, {"x@scale": np.ones((2, 3, 4), np.float32)}):
        with pytest.raises(CorruptFileError, match="scales of x"):
            parse(save({"x": values, **others}, METADATA)).tensors()
    parse(save({"x": values, "x@scale": np.ones((2, 3), np.float32)}, METADATA)).tensors()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_weights_that_are_no_numbers(value, dtype):
    with pytest.raises(CorruptFileError, match="no numbers"):
        parse(save({"x": np.array([1, value], dtype)}, METADATA)).tensors()


@pytest.mark.parametrize("scale", [np.nan, np.inf, 3e38])
def test_scales_that_lead_to_no_numbers(scale):
    tensors = {"x": np.array([[0, 127]], np.int8), "x@scale": np.array([scale], np.float32)}
    with pytest.raises(CorruptFileError, match="no numbers"):
        parse(save(tensors, METADATA)).tensors()


def test_a_file_over_the_limit_is_not_read(tmp_path):
    path = tmp_path / "huge.pacmodel"
    with path.open("wb") as file:
        file.truncate(limits.MAX_MODEL_BYTES + 1)  # sparse: takes no room on the disk
    with pytest.raises(LimitError):
        ModelFile.read(path)


def test_files_that_cannot_be_read(tmp_path):
    for path in (tmp_path / "missing.pacmodel", tmp_path):
        with pytest.raises(FileAccessError, match=path.name):
            ModelFile.read(path)


@given(st.integers(0, 10**6), st.binary(min_size=1, max_size=4))
def test_a_damaged_file_is_a_model_or_a_named_error(position, change):
    data = bytearray(GOOD)
    at = position % len(data)
    data[at : at + len(change)] = change
    with contextlib.suppress(PacodecError):
        parse(bytes(data)).tensors()


@given(st.integers(0, 10**6))
def test_a_file_cut_short_is_a_named_error(position):
    with pytest.raises(PacodecError):
        parse(GOOD[: position % len(GOOD)]).tensors()


GOOD = dump(some_weights(), INFO)

# Weights and architecture


def test_weights_that_fit_make_a_network():
    network = load_autoencoder(parse(dump(*small_model())))
    assert network.grid(16, 16) == (500, 4, 4)
    assert not network.training


@pytest.mark.parametrize(
    "info",
    [
        ModelInfo("vanilla-1000", {"height": 16, "width": 16, "rank": 2}),
        ModelInfo("vanilla-500", {"height": 16, "width": 16, "rank": 3}),
        ModelInfo("vanilla-500", {"height": 16, "width": 20, "rank": 2}),
        ModelInfo("vanilla-500", {}),
        ModelInfo("conv4", {}),
        ModelInfo("vae", {"height": 1024, "width": 1024, "rank": 0}),
    ],
)
def test_weights_of_another_shape(info):
    with pytest.raises(CorruptFileError, match="do not fit"):
        load_autoencoder(parse(dump(small_model()[0], info)))


def test_missing_and_unknown_weights():
    weights, info = small_model()
    for changed in ({**weights, "more": np.zeros(3, np.float32)}, dict(list(weights.items())[1:]), {}):
        with pytest.raises(CorruptFileError, match="do not fit"):
            load_autoencoder(parse(dump(changed, info)))


def test_an_architecture_that_there_is_not():
    with pytest.raises(UnsupportedError, match="transformer"):
        load_autoencoder(parse(dump(some_weights(), ModelInfo("transformer", {}))))


@pytest.mark.parametrize("hyperparameters", [{"height": 10**9}, {"rank": "x"}, {"height": None}, {"depth": 1}])
def test_hostile_hyperparameters(hyperparameters):
    with pytest.raises((CorruptFileError, LimitError)):
        load_autoencoder(parse(save({}, {**METADATA, "arch": "vae", "hyperparameters": json.dumps(hyperparameters)})))
