"""The learned predictor: what goes in comes out, the same on every machine, and damage ends in named errors."""

import contextlib
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from predictive import (
    NO_SCREEN,
    TINY,
    ReferenceNetwork,
    cases,
    decode,
    digest,
    dump_model,
    encode,
    exact_product,
    hedged,
    integers,
    make_arrays,
    make_model,
    make_predictor,
    parse,
    play,
    restless,
    spec_of,
    through_torch,
)

from pacodec.coders import model_palette
from pacodec.errors import CorruptFileError, LimitError, ModelError, UnsupportedError
from pacodec.grids import GridSpec
from pacodec.predictors import foresight, get_predictor
from pacodec.predictors.learned import LearnedPredictor
from pacodec.predictors.network import Geometry, IntegerNetwork
from pacodec.predictors.passes import PASSES
from pacodec.predictors.squeezed import compress

PALETTE = np.array([[0, 0, 0], [250, 240, 10], [200, 30, 40]], np.uint8)
PREDICTOR = make_predictor()
WHOLE = make_model(PALETTE, play(1)[:, 0])
HEADER = 8 + int.from_bytes(WHOLE[:8], "little")
# Of the range coder's words and the codes, see `digest`.
GOLDEN = {
    "still": "53b6711d6674e5b577b0e77e26a1567f29562aa154fd9b4b508c2234860a5d83",
    "restless": "10a5431d4acd4cf8106701fb98f362285aec2aa144003a968d45ac25768fbe71",
    "corrected": "8b3b60de4928543debfc91fbd9d193e223bfff737a0d198c2921cb54a82557ab",
}


@st.composite
def any_grids(draw, most_channels=4):
    sides = st.one_of(st.integers(1, 4), st.integers(5, 26))
    shape = (draw(st.integers(0, 5)), draw(st.integers(1, most_channels)), draw(sides), draw(sides))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    grids = rng.integers(0, draw(st.sampled_from([1, 2, 7, 256])), shape).astype(np.uint8)
    how = draw(st.sampled_from(["noise", "still", "identical", "moving"]))
    if how == "still":
        grids[1:] = np.where(rng.random(grids[1:].shape) < 0.05, grids[1:], grids[:1])
    elif how == "identical":
        grids[1:] = grids[:1]
    elif how == "moving":
        for t in range(1, len(grids)):
            grids[t] = np.roll(grids[t - 1], (1, 2), (1, 2))
    return grids


# What goes in comes out


@settings(deadline=None, max_examples=15)
@given(grids=any_grids(), pushes=st.lists(st.integers(0, 3)), pulls=st.lists(st.integers(0, 3)), known=st.booleans())
def test_any_grids_in_any_batches_come_back(grids, pushes, pulls, known):
    screens = grids[:1, 0] if known and len(grids) else None
    predictor = make_predictor(screens)
    payload, coded = encode(predictor, grids, pushes)
    np.testing.assert_array_equal(coded, grids)
    np.testing.assert_array_equal(decode(predictor, payload, spec_of(grids), len(grids), pulls), grids)
    assert payload == encode(predictor, grids)[0]


@pytest.mark.parametrize("shape", [(4, 1, 1, 1), (3, 2, 1, 13), (3, 1, 17, 1), (2, 4, 5, 3)])
def test_slivers_come_back(shape):
    grids = (integers("sliver", shape, 9) & 255).astype(np.uint8)
    payload, _ = encode(PREDICTOR, grids)
    np.testing.assert_array_equal(decode(PREDICTOR, payload, spec_of(grids), len(grids)), grids)


def test_no_grids_are_no_bytes():
    grids = play(0)
    assert encode(PREDICTOR, grids)[0] == b""
    assert decode(PREDICTOR, b"", spec_of(grids), 0).shape == grids.shape


def test_identical_grids_cost_next_to_nothing():
    grids = np.repeat(play(1, 40, 48), 30, 0)
    assert len(encode(PREDICTOR, grids)[0]) <= len(encode(PREDICTOR, grids[:1])[0]) + 30


def test_passes_of_more_pixels_than_a_batch_holds_come_back(monkeypatch):
    grids = restless(2, 104, 96)
    payload, _ = encode(PREDICTOR, grids)
    np.testing.assert_array_equal(decode(PREDICTOR, payload, spec_of(grids), 2), grids)
    monkeypatch.setattr(foresight, "_AHEAD", 0)  # the past of a batch at a time
    assert encode(PREDICTOR, grids)[0] == payload


def test_further_channels_hang_on_the_first():
    grids = play(10, channels=4)
    alone, same_again = len(encode(PREDICTOR, grids[:, :1])[0]), len(encode(PREDICTOR, grids)[0])
    assert same_again < 2 * alone


@pytest.mark.parametrize("channels", [1, 3])
def test_grids_that_nobody_asked_for_are_noticed(channels):
    grids = play(channels=channels)
    payload, _ = encode(PREDICTOR, grids)
    with pytest.raises(CorruptFileError, match="goes on"):
        decode(PREDICTOR, payload, spec_of(grids), 3)
    with pytest.raises(CorruptFileError, match="nobody asked for"):
        decode(PREDICTOR, payload, spec_of(grids), 0)


# Screens


def test_a_screen_that_the_model_knows_is_not_stored():
    grids = play(6)
    screens = np.stack([np.full_like(grids[0, 0], 9), grids[3, 0]])
    knowing = make_predictor(screens)
    payload, _ = encode(knowing, grids)
    assert payload[0] == 1
    assert encode(PREDICTOR, grids)[0][0] == NO_SCREEN
    assert len(payload) < len(encode(PREDICTOR, grids)[0])
    np.testing.assert_array_equal(decode(knowing, payload, spec_of(grids), 6), grids)


def test_a_screen_says_nothing_of_further_channels():
    grids = play(4, channels=3)
    knowing = make_predictor(grids[:1, 0])
    payload, _ = encode(knowing, grids)
    assert payload[0] == 0
    np.testing.assert_array_equal(decode(knowing, payload, spec_of(grids), 4), grids)


@pytest.mark.parametrize("screen", [np.full((24, 30), 9, np.uint8), play(1, 30, 24)[0, 0], play(1, 24, 31)[0, 0]])
def test_a_screen_of_other_content_or_size_is_not_used(screen):
    grids = play(3)
    knowing = make_predictor(screen[None])
    payload, _ = encode(knowing, grids)
    assert payload == encode(PREDICTOR, grids)[0]
    np.testing.assert_array_equal(decode(knowing, payload, spec_of(grids), 3), grids)


@pytest.mark.parametrize(("screen", "height"), [(1, 24), (252, 24), (0, 25)])
def test_a_screen_that_the_model_lacks_is_refused(screen, height):
    knowing = make_predictor(play(1)[:, 0])
    payload, _ = encode(knowing, play(3))
    with pytest.raises(CorruptFileError, match=f"screen {screen}"):
        knowing.decoder(GridSpec(1, height, 30, False), bytes([screen]) + payload[1:]).pull(1)


# What the model does not know


@pytest.mark.parametrize(("frames", "chosen"), [(1, False), (5, True), (16, False), (21, True)])
def test_unknown_footage_costs_no_more_than_without_the_model(frames, chosen):
    grids = play(frames)
    costs = np.where(np.eye(256, dtype=bool), 0.0, 2.0) if chosen else None
    payload, coded = hedged(PREDICTOR, grids, [3, 10], costs)
    np.testing.assert_array_equal(decode(PREDICTOR, payload, spec_of(grids), frames, [2]), coded)
    alone = (hedged(get_predictor(name), coded)[0] for name in ("none", "adaptive"))
    ours = len(encode(PREDICTOR, grids, costs=costs)[0])
    if len(payload) == ours and payload[0] not in (
        253,
        254,
    ):  # kept by the network: at a price that familiar footage has
        first, _ = encode(PREDICTOR, grids[:1])
        assert 8 * (ours - len(first)) <= grids.size / 128 + 64 or ours <= min(1 + len(other) for other in alone)
    else:
        assert len(payload) <= min(ours, *(1 + len(other) for other in alone))


def test_footage_that_becomes_unknown_later_is_caught_too():
    still, noise = np.repeat(play(1), 40, 0), integers("later", (6, 1, 24, 30), 8).astype(np.uint8)
    grids = np.concatenate([still, noise])
    payload, _ = hedged(make_predictor(still[:1, 0]), grids)
    alone = min(len(hedged(get_predictor(name), grids)[0]) for name in ("none", "adaptive"))
    assert len(payload) <= 1 + alone


def test_familiar_footage_is_coded_by_the_network():
    grids = np.repeat(play(1), 20, 0)
    knowing = make_predictor(grids[:1, 0])
    payload, _ = hedged(knowing, grids)
    assert payload == encode(knowing, grids)[0]
    np.testing.assert_array_equal(decode(knowing, payload, spec_of(grids), 20), grids)


# The choice of codes


@settings(deadline=None, max_examples=15)
@given(grids=any_grids(2), pushes=st.lists(st.integers(0, 3)), seed=st.integers(0, 2**32), known=st.booleans())
def test_what_was_chosen_is_what_comes_back(grids, pushes, seed, known):
    predictor = make_predictor(grids[:1, 0] if known and len(grids) else None)
    costs = np.random.default_rng(seed).exponential(4, (256, 256))
    np.fill_diagonal(costs, 0)
    payload, coded = encode(predictor, grids, pushes, costs)
    np.testing.assert_array_equal(decode(predictor, payload, spec_of(grids), len(grids)), coded)
    np.testing.assert_array_equal(coded[:, 1:], grids[:, 1:])


def test_codes_that_must_not_be_replaced_are_not():
    grids = play(8)
    costs = np.zeros((256, 256))
    groups = np.arange(256) // 4
    costs[groups[:, None] != groups] = np.inf
    _, coded = encode(PREDICTOR, grids, costs=costs)
    assert (coded != grids).any()
    np.testing.assert_array_equal(coded // 4, grids // 4)


def test_where_every_error_is_forbidden_nothing_changes():
    grids = restless()
    costs = np.where(np.eye(256, dtype=bool), 0.0, np.inf)
    payload, coded = encode(PREDICTOR, grids, costs=costs)
    np.testing.assert_array_equal(coded, grids)
    assert payload == encode(PREDICTOR, grids)[0]


def test_a_block_in_which_little_would_be_gained_stays_as_it_is():
    grids = np.repeat(play(1, 40, 48), 6, 0)
    flickering = grids.copy()
    flickering[1::2, :, 4::8, 4::8] ^= 1
    payload, coded = encode(PREDICTOR, flickering, costs=np.zeros((256, 256)))
    np.testing.assert_array_equal(coded, grids)
    assert payload == encode(PREDICTOR, grids)[0]


def test_noise_that_is_cheap_to_drop_is_dropped():
    grids = play(10, 40, 48)
    noisy = grids + (integers("noise", grids.shape, 5) == 0).astype(np.uint8)
    distance = np.abs(np.subtract.outer(np.arange(256.0), np.arange(256.0)))
    assert len(encode(PREDICTOR, noisy, costs=distance / 8)[0]) < 0.7 * len(encode(PREDICTOR, noisy)[0])


# Integers


def assert_equal_networks(arrays, hyperparameters, inputs):
    """The network gives what 64-bit integers give, whole and in parts, on inputs of extreme and of common size."""
    geometry = Geometry.from_hyperparameters(hyperparameters)
    network, reference = IntegerNetwork(arrays, geometry), ReferenceNetwork(arrays, geometry)
    x = inputs.astype(np.float32)
    products = network.products(x, 0)
    np.testing.assert_array_equal(products, reference.products(inputs, 0))
    now = geometry.inputs_now
    np.testing.assert_array_equal(network.products(x[:, :now], 0) + network.products(x[:, now:], now), products)
    for order in range(PASSES):
        hidden = network.hidden(products.copy(), order)
        expected = reference.hidden(products, order)
        np.testing.assert_array_equal(hidden, expected)
        np.testing.assert_array_equal(network.gate(hidden), reference.gate(expected))
        np.testing.assert_array_equal(network.codes(hidden), reference.codes(expected))


@settings(deadline=None, max_examples=25)
@given(
    radii=st.lists(st.integers(0, 3), min_size=4, max_size=6),
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(0, 3)),  # at most 882 inputs: within the bound
    seed=st.integers(0, 2**32),
    extreme=st.booleans(),
)
def test_the_network_is_that_of_whole_numbers(radii, sizes, seed, extreme):
    embedding, hidden, layers = sizes
    hyperparameters = {**TINY, "radii": radii, "embedding": embedding, "hidden": hidden, "layers": layers}
    rng = np.random.default_rng(seed)
    arrays = make_arrays(hyperparameters, seed)
    for name in arrays:
        if name.endswith("weight") and extreme:
            arrays[name] = rng.choice(np.array([-128, 127], np.int8), arrays[name].shape)
        if name.endswith("shift"):
            arrays[name] = rng.integers(0, 31 if extreme else 8, arrays[name].shape).astype(np.int8)
    inputs = rng.integers(-128, 128, (33, Geometry.from_hyperparameters(hyperparameters).inputs))
    inputs[:2] = [[-128], [127]]
    assert_equal_networks(arrays, hyperparameters, inputs)


def at_the_bound(layer, sign):
    """A network of which one layer has a row whose sum is 2^24 - 1, or minus that, where its inputs are extreme."""
    wide = {**TINY, "radii": [1, 1, 1, 1], "embedding": 32} if layer == "first" else {**TINY, "hidden": 520}
    arrays = make_arrays(wide)
    for name, values in arrays.items():
        values[...] = 255 if name.endswith("bias") else 0  # so that every activation is 255
    arrays["embedding"][...] = 127
    most = 128 if layer == "first" else 255
    full, rest = divmod((1 << 24) - 1, most * 127)
    row = arrays[f"{layer}.weight"][-1]
    row[:full], row[full] = 127 * sign, rest // most * sign
    arrays[f"{layer}.bias"][..., -1] = rest % most * (-sign if layer == "first" else sign)  # there the input is -128
    arrays[f"{layer}.shift"][...] = 0 if layer in ("gate", "codes") else 16
    return arrays, wide


@pytest.mark.parametrize("layer", ["first", "hidden1", "gate", "codes"])
@pytest.mark.parametrize("sign", [1, -1])
def test_sums_reach_the_bound_exactly_and_may_not_pass_it(layer, sign):
    arrays, hyperparameters = at_the_bound(layer, sign)
    inputs = np.full((3, arrays["first.weight"].shape[1]), -128)
    inputs[1], inputs[2] = 127, integers("bound", inputs.shape[1:], 8)
    assert_equal_networks(arrays, hyperparameters, inputs)
    bias = arrays[f"{layer}.bias"][..., -1]
    bias += np.where(bias < 0, -1, 1).astype(np.int32)
    with pytest.raises(CorruptFileError, match=f"layer {layer} can leave the integers"):
        LearnedPredictor.from_model(parse(dump_model(arrays, hyperparameters)))


# The same bytes everywhere


@pytest.mark.parametrize("name", cases())
def test_golden_bytes(name):
    assert digest(name) == GOLDEN[name]


def in_pieces(x, weight):
    """A few rows at a time, the columns in two halves and from the last to the first."""
    backwards, half = np.ascontiguousarray(weight.astype(np.float32)[:, ::-1]), weight.shape[1] // 2
    parts = [np.zeros((0, len(weight)), np.float32)]
    for at in range(0, len(x), 7):
        rows = x[at : at + 7].astype(np.float32)[:, ::-1]
        parts.append(rows[:, :half] @ backwards[:, :half].T + rows[:, half:] @ backwards[:, half:].T)
    return np.concatenate(parts)


@pytest.mark.parametrize(("product", "name"), [(exact_product, "still"), (in_pieces, "restless")])
def test_any_way_to_multiply_gives_the_same_bytes(product, name):
    assert digest(name, product) == GOLDEN[name]


@pytest.mark.parametrize("name", ["still", "restless"])
def test_computing_the_past_late_gives_the_same_bytes(name, monkeypatch):
    monkeypatch.setattr(foresight, "_AHEAD", 0)
    assert digest(name) == GOLDEN[name]


@pytest.mark.parametrize(("threads", "mkldnn"), [(1, False), (2, True)])
def test_torch_gives_the_same_bytes(threads, mkldnn):
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="TF32")  # of restoring a flag that this build has no use for
            with torch.backends.mkldnn.flags(enabled=mkldnn):
                assert digest("restless", through_torch()) == GOLDEN["restless"]
    finally:
        torch.set_num_threads(before)


def test_a_gpu_gives_the_same_bytes():
    import torch

    if not torch.cuda.is_available():
        pytest.skip("there is no GPU here")
    for name, expected in GOLDEN.items():
        assert digest(name, through_torch("cuda")) == expected


def elsewhere(code, **environment):
    """What a line of Python says, on standard output and error, in a process with another environment."""
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", f"from predictive import digest, through_torch; {code}"],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split(), done.stderr


PROBE = "print(digest('still'), digest('restless'))"
EXPECTED = [GOLDEN["still"], GOLDEN["restless"]]
EXTENSIONS = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])


@pytest.mark.parametrize(
    ("kernel", "extension", "threads"),
    [("Nehalem", None, "1"), ("Haswell", "X86_V3", "1"), ("Haswell", "X86_V3", "2"), ("SkylakeX", "X86_V4", "2")],
)
def test_kernels_and_threads_of_the_matrix_product_change_nothing(kernel, extension, threads):
    if extension is not None and extension not in EXTENSIONS:
        pytest.skip(f"this processor lacks {extension}")
    out, said = elsewhere(PROBE, OPENBLAS_CORETYPE=kernel, OPENBLAS_NUM_THREADS=threads, OPENBLAS_VERBOSE="2")
    assert out == EXPECTED
    if f"Core: {kernel}" not in said:
        pytest.skip(f"this numpy has no kernels for {kernel}")


def test_numpy_without_vector_extensions_gives_the_same_bytes():
    if not EXTENSIONS:
        pytest.skip("this numpy has nothing to switch off")
    assert elsewhere(PROBE, NPY_DISABLE_CPU_FEATURES=" ".join(EXTENSIONS))[0] == EXPECTED


@pytest.mark.parametrize("capability", ["default", "avx2"])  # the best that there is is tested above
def test_instruction_sets_of_torch_change_nothing(capability):
    code = "import torch; print(torch.backends.cpu.get_cpu_capability(), digest('restless', through_torch()))"
    (used, found), _ = elsewhere(code, ATEN_CPU_CAPABILITY=capability, OMP_NUM_THREADS="1")
    assert found == GOLDEN["restless"]
    if used.lower() != capability:
        pytest.skip(f"torch used {used} instead")


# Damage


@pytest.fixture(scope="module")
def sound():
    """Predictor, payload and grids of the cases that damage is done to."""
    made = []
    for name in ("restless", "corrected"):
        screens, grids = cases()[name]
        predictor = make_predictor(screens)
        made.append((predictor, encode(predictor, grids)[0], grids))
    return made


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_damage_ends_in_an_error_or_in_other_codes(sound, data):
    predictor, payload, grids = data.draw(st.sampled_from(sound))
    damaged = bytearray(payload)
    if data.draw(st.booleans(), label="cut"):
        del damaged[data.draw(st.integers(0, len(damaged) - 1)) :]
    for _ in range(data.draw(st.integers(0, 3), label="flips")):
        if damaged:
            at = st.one_of(st.integers(0, len(damaged) - 1), st.integers(0, min(len(damaged), 12) - 1))
            damaged[data.draw(at)] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(CorruptFileError):
        assert decode(predictor, bytes(damaged), spec_of(grids), len(grids)).shape == grids.shape


@settings(deadline=None, max_examples=25)
@given(payload=st.binary(max_size=60), start=st.sampled_from([b"", b"\x00", b"\xff"]))
def test_junk_ends_in_an_error_or_in_other_codes(payload, start):
    predictor = make_predictor(np.zeros((1, 9, 10), np.uint8))
    with contextlib.suppress(CorruptFileError):
        assert decode(predictor, start + payload, GridSpec(2, 9, 10, False), 3).shape == (3, 2, 9, 10)


@pytest.mark.parametrize("cut", [0, 1, 4, 5, 6, 20, -3, -1])
def test_a_payload_cut_within_its_fields_is_refused(cut):
    grids = play(3)
    payload, _ = encode(PREDICTOR, grids)
    with pytest.raises(CorruptFileError):
        decode(PREDICTOR, payload[:cut], spec_of(grids), 3)


@pytest.mark.parametrize("first", [zstandard.compress(bytes(5000)), zstandard.compress(bytes(100)), b"no zstd", b""])
def test_a_first_grid_of_another_size_is_refused(first):
    payload = bytes([NO_SCREEN]) + len(first).to_bytes(4, "little") + first
    with pytest.raises(CorruptFileError, match="zstd data"):
        PREDICTOR.decoder(GridSpec(1, 30, 40, False), payload).pull(1)


# Model files


def load(arrays, hyperparameters=TINY, arch="predictive"):
    return LearnedPredictor.from_model(parse(dump_model(arrays, hyperparameters, arch)))


def test_a_model_file_becomes_the_same_predictor():
    screens = play(2)[:, 0]
    grids = play(5)
    model = parse(make_model(PALETTE, screens))
    np.testing.assert_array_equal(model_palette(model), PALETTE)
    loaded = get_predictor("learned", model)
    np.testing.assert_array_equal(loaded.screens, screens)
    assert encode(loaded, grids)[0] == encode(make_predictor(screens), grids)[0]


def test_a_model_of_another_kind_predicts_nothing():
    with pytest.raises(ModelError, match="tiny: a model of architecture vae"):
        load(make_arrays(), arch="vae")
    with pytest.raises(ModelError, match="needs a model"):
        get_predictor("learned")


@pytest.mark.parametrize("how", ["missing", "type", "rank", "rows", "columns", "empty"])
@pytest.mark.parametrize("name", make_arrays())
def test_a_tensor_of_another_shape_or_type_is_refused(name, how):
    arrays = make_arrays()
    values = arrays.pop(name)
    other = {
        "type": values.astype(np.uint8),
        "rank": values[None],
        "rows": values[:-1],
        "columns": np.concatenate([values, values], -1),
        "empty": values[:0],
    }
    if how != "missing":
        arrays[name] = np.ascontiguousarray(other[how])
    with pytest.raises(CorruptFileError, match=f"tiny: .*{name} is"):
        load(arrays)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64, np.bool_])
def test_a_tensor_that_no_integer_network_has_is_refused(dtype):
    with pytest.raises(CorruptFileError, match="tiny: tensor more is of type"):
        load(make_arrays() | {"more": np.zeros(3, dtype)})


@pytest.mark.parametrize("name", [name for name in make_arrays() if name.endswith("shift")])
@pytest.mark.parametrize("shift", [-128, -1, 31, 127])
def test_a_shift_out_of_range_is_refused(name, shift):
    arrays = make_arrays()
    arrays[name][-1] = shift
    with pytest.raises(CorruptFileError, match=f"tiny: .*{name} is not in"):
        load(arrays)


@pytest.mark.parametrize("key", TINY)
@pytest.mark.parametrize(
    "value", [None, -1, 10**30, True, 2.5, float("nan"), "4", [], [2], {}, [[2, 2, 1, 1, 1]], {"a": 1}]
)
def test_absurd_hyperparameters_are_refused(key, value):
    with pytest.raises(CorruptFileError, match="tiny: the model"):
        load(make_arrays(), {**TINY, key: value})


@pytest.mark.parametrize(
    "radii",
    [[2, 2, 1], [1] * 12, [9, 2, 1, 1, 1], [2, 2, -1, 1, 1], [2, 2, True, 1, 1], [2, 2, 1.0, 1, 1], [2, [2], 1, 1, 1]],
)
def test_absurd_windows_are_refused(radii):
    with pytest.raises(CorruptFileError, match="tiny: the model"):
        load(make_arrays(), {**TINY, "radii": radii})


def test_a_network_without_hidden_layers_will_do():
    hyperparameters = {**TINY, "layers": 0}
    arrays = {name: values for name, values in make_arrays().items() if not name.startswith("hidden")}
    predictor, grids = load(arrays, hyperparameters), play(3)
    np.testing.assert_array_equal(decode(predictor, encode(predictor, grids)[0], spec_of(grids), 3), grids)


@pytest.mark.parametrize("key", TINY)
def test_a_missing_hyperparameter_is_refused(key):
    with pytest.raises(CorruptFileError, match="tiny: the model"):
        load(make_arrays(), {name: value for name, value in TINY.items() if name != key})


def load_with_screens(data, shape):
    arrays = make_arrays() | {"screens": np.frombuffer(data, np.uint8)}
    return load(arrays, {**TINY, "screens": shape})


@pytest.mark.parametrize(
    "shape",
    [None, 5, [24, 30], [1, 24, 30, 1], [1, 24, "30"], [1, 24, 30.0], [True, 24, 30], [-1, -24, 30], [1, 0, 30], {}],
)
def test_screens_of_no_shape_are_refused(shape):
    with pytest.raises(CorruptFileError, match="tiny: the shape"):
        load_with_screens(compress(bytes(24 * 30)), shape)


@pytest.mark.parametrize("shape", [[254, 1, 1], [10**30, 1, 1], [1, 1 << 20, 1 << 20], [2, 10**30, 10**30]])
def test_screens_over_the_limits_are_refused_before_memory_is_taken(shape):
    with pytest.raises(LimitError, match=r"tiny: .*model's screens"):
        load_with_screens(compress(bytes(255)), shape)


def bomb(size, window=23):
    parameters = zstandard.ZstdCompressionParameters(window_log=window, write_content_size=0)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return b"".join([*(compressor.compress(bytes(1 << 20)) for _ in range(size >> 20)), compressor.flush()])


@pytest.mark.parametrize(
    "data",
    [
        bomb(64 << 20),
        bomb(16 << 20, 24),
        zstandard.compress(bytes(1 << 20)),
        compress(bytes(24 * 30 + 1)),
        compress(bytes(24 * 30 - 1)),
        compress(bytes(24 * 30)) + b"more",
        compress(bytes(24 * 30))[:-1],
        b"no zstd at all",
        b"",
    ],
    ids=["bomb", "window", "declared", "longer", "shorter", "trailed", "cut", "junk", "nothing"],
)
def test_screens_that_unpack_to_another_size_are_refused(data):
    with pytest.raises(CorruptFileError, match="tiny: zstd data"):
        load_with_screens(data, [1, 24, 30])


@pytest.mark.parametrize("screens", [np.zeros((4, 4), np.uint8), np.zeros(16, np.int8), np.zeros(16, np.int32)])
def test_screens_that_are_no_bytes_are_refused(screens):
    with pytest.raises(CorruptFileError, match="tiny: the model's screens are no bytes"):
        load(make_arrays() | {"screens": screens}, {**TINY, "screens": [1, 4, 4]})


@pytest.mark.parametrize(
    "palette",
    [
        None,
        np.zeros((0, 3), np.uint8),
        np.zeros((257, 3), np.uint8),
        np.zeros((4, 4), np.uint8),
        np.zeros(12, np.uint8),
        np.zeros((4, 3), np.int8),
    ],
    ids=["missing", "empty", "too-many", "columns", "rank", "type"],
)
def test_a_malformed_palette_is_refused(palette):
    arrays = make_arrays() if palette is None else make_arrays() | {"palette": palette}
    with pytest.raises(CorruptFileError, match=r"tiny: .* palette"):
        model_palette(parse(dump_model(arrays)))


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_a_damaged_model_file_is_refused_or_another_model(data):
    damaged = bytearray(WHOLE)
    if data.draw(st.booleans(), label="cut"):
        del damaged[data.draw(st.integers(0, len(damaged) - 1)) :]
    for _ in range(data.draw(st.integers(0, 3), label="flips")):
        if damaged:
            at = st.one_of(st.integers(0, len(damaged) - 1), st.integers(0, min(len(damaged), HEADER) - 1))
            damaged[data.draw(at)] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(CorruptFileError, LimitError, UnsupportedError):
        model = parse(bytes(damaged))
        model_palette(model)
        LearnedPredictor.from_model(model)
