"""What the predictor learns from, how it becomes integers, and what is held out."""

import math

import cv2
import numpy as np
import pytest
import torch
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pacodec.errors import CorruptFileError, ModelError, UsageError
from pacodec.learning.batches import FRAMES, MAX_PIXELS, Sampler, nearest, probe
from pacodec.learning.clips import pack
from pacodec.learning.export import check_bounds, export, hyperparameters
from pacodec.learning.float_network import PredictorNetwork
from pacodec.learning.report import flag_bits, peers
from pacodec.learning.request import split
from pacodec.learning.rounding import rounded_rows
from pacodec.learning.samples import choose, every, moment, sample
from pacodec.learning.screens import choose_screens
from pacodec.predictors.network import EDGE, UNKNOWN, Geometry, IntegerNetwork
from pacodec.predictors.passes import PASSES, pass_of
from pacodec.weights import ModelFile, ModelInfo, dump, dump_arrays

pytestmark = pytest.mark.usefixtures("one_thread")

GEOMETRY = Geometry(radii=(2, 2, 1, 1, 1), dilation=2, history=2, hold=6, embedding=4, hidden=16, layers=2)
COLOURS = np.array([[0, 0, 0], [250, 240, 10], [200, 30, 40], [20, 80, 200], [90, 90, 90]], np.uint8)


def play(frames=40, height=24, width=30, seed=0):
    """Codes of a ball that flies over a still picture, and of a lamp that blinks."""
    rng = np.random.default_rng(seed)
    grids = np.repeat(rng.integers(0, 2, (1, height, width), np.uint8), frames, 0)
    for t, grid in enumerate(grids):
        y, x = (3 * t + seed) % (height - 4), (2 * t) % (width - 4)
        grid[y : y + 3, x : x + 3] = 2 + t % 2
        grid[1, width - 2] = 4 if t % 7 == 0 else 1
    return grids


# Clips


def test_a_clip_gives_its_grids_back():
    codes = play(12)
    clip = pack(codes, 6)
    assert len(clip) == 12
    assert clip.shape == (24, 30)
    assert np.array_equal(np.stack(list(clip)), codes)
    assert clip.bytes < codes.nbytes
    assert clip.checksum != pack(codes[::-1], 6).checksum


@settings(deadline=None)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=24), st.integers(2, 5))
def test_the_background_is_what_a_pixel_last_held(history, hold):
    clip = pack(np.array(history, np.uint8).reshape(-1, 1, 1), hold)
    for t in range(len(history)):
        expected = history[0]
        for end in range(1, t):
            run = history[end - hold + 1 : end + 1] if end >= hold - 1 else []
            if len(run) == hold and len(set(run)) == 1:
                expected = run[0]
        assert clip.background(t)[0, 0] == expected


# Samples


def slow_attended(codes, t):
    """The attended pixels of frame t, by the words of the definition."""
    height, width = codes.shape[1:]
    recent = np.zeros((height, width), bool)
    for k in range(max(1, t - GEOMETRY.history), t):
        recent |= codes[k] != codes[k - 1]
    d = GEOMETRY.dilation
    near = np.array(
        [
            [recent[max(0, y - d) : y + d + 1, max(0, x - d) : x + d + 1].any() for x in range(width)]
            for y in range(height)
        ]
    )
    surprise = (codes[t] != codes[t - 1]) & ~near
    for y, x in np.argwhere(surprise):
        near[y // 8 * 8 : y // 8 * 8 + 8, x // 8 * 8 : x // 8 * 8 + 8] = True
    return near


@pytest.mark.parametrize("t", [1, 2, 3, 7, 14, 20])
def test_attended_pixels(t):
    codes = play()
    frame = moment(pack(codes, 6), t, GEOMETRY)
    assert np.array_equal(frame.attended, slow_attended(codes, t))
    assert not (frame.attended.all())
    assert not (((codes[t] != codes[t - 1]) & ~frame.attended).any())


def test_a_blinking_lamp_is_a_surprise():
    codes = np.zeros((12, 24, 30), np.uint8)
    codes[9:, 10, 20] = 1
    clip = pack(codes, 6)
    assert [moment(clip, t, GEOMETRY).surprises for t in (8, 9, 10)] == [0, 1, 0]


@pytest.mark.parametrize("t", [1, 2, 9, 21])
def test_windows_show_what_is_known_and_nothing_else(t):
    codes = play()
    clip = pack(codes, 6)
    frame = moment(clip, t, GEOMETRY)
    places = np.flatnonzero(frame.attended)
    batch = sample([every(frame)], GEOMETRY)
    order = pass_of(24, 30)
    planes = [codes[t], codes[t - 1], codes[max(t - 2, 0)], codes[max(t - 3, 0)], clip.background(t)]
    for row, place in enumerate(places[::17]):
        y, x = divmod(int(place), 30)
        expected = []
        for number, (plane, r) in enumerate(zip(planes, GEOMETRY.radii, strict=True)):
            for v in range(y - r, y + r + 1):
                for u in range(x - r, x + r + 1):
                    if not (0 <= v < 24 and 0 <= u < 30):
                        expected.append(EDGE)
                    elif number == 0 and frame.attended[v, u] and order[v, u] >= order[y, x]:
                        expected.append(UNKNOWN)
                    else:
                        expected.append(int(plane[v, u]))
        assert batch.windows[row * 17].tolist() == expected
        assert batch.codes[row * 17] == codes[t, y, x]
        assert batch.last[row * 17] == codes[t - 1, y, x]
        assert batch.passes[row * 17] == order[y, x]


def test_a_gop_that_starts_anywhere_knows_nothing_of_before():
    codes = play()
    whole, screen = pack(codes, 6), np.full((24, 30), 3, np.uint8)
    for start, t in ((10, 10), (10, 13), (10, 25)):
        alone = pack(np.concatenate([screen[None], codes[start:]]), 6)
        a, b = moment(whole, t, GEOMETRY, start, screen), moment(alone, t - start + 1, GEOMETRY)
        for one, other in zip(
            (a.now, *a.past, a.background, a.attended), (b.now, *b.past, b.background, b.attended), strict=True
        ):
            assert np.array_equal(one, other)


def test_batches_depend_on_seed_and_step_alone():
    clips = [pack(play(seed=k), 6) for k in range(2)]
    screens = list(choose_screens(clips))
    one, other = (Sampler(clips, screens, GEOMETRY, seed=5) for _ in range(2))
    other.batch(0)
    assert torch.equal(one.batch(7).windows, other.batch(7).windows)
    assert not torch.equal(one.batch(7).codes, one.batch(8).codes)
    assert not torch.equal(one.batch(7).codes, Sampler(clips, screens, GEOMETRY, seed=6).batch(7).codes)


def test_a_batch_of_large_frames_is_a_part_of_their_pixels():
    noise = np.random.default_rng(0).integers(0, 5, (4, 90, 100), np.uint8)
    batch = Sampler([pack(noise, 6)], [], GEOMETRY, 0).batch(0)
    assert MAX_PIXELS * 0.9 < len(batch) <= MAX_PIXELS + FRAMES
    assert len(set(batch.passes.tolist())) == PASSES


def test_still_footage_gives_empty_batches_and_costs_nothing():
    clip = pack(np.ones((9, 16, 16), np.uint8), 6)
    assert len(Sampler([clip], [], GEOMETRY, 0).batch(0)) == 0
    assert not probe([clip], GEOMETRY, 8, 100).batches


def test_where_something_happens_every_pixel_is_learned_from():
    codes = play()
    frame = moment(pack(codes, 6), 9, GEOMETRY)
    near = cv2.dilate((codes[9] != codes[8]).astype(np.uint8), np.ones((3, 3), np.uint8)).ravel() > 0
    drawn = [choose(frame, np.random.default_rng(k), 4) for k in range(200)]
    for chosen in drawn:
        assert set(np.flatnonzero(near & frame.attended.ravel())) <= set(chosen.places)
        assert np.array_equal(chosen.weights, np.where(near[chosen.places], 1, 4))
    assert np.mean([chosen.weights.sum() for chosen in drawn]) == pytest.approx(frame.attended.sum(), rel=0.03)


def test_a_probe_stands_for_all_attended_pixels():
    clip = pack(play(60), 6)
    everything, few = probe([clip], GEOMETRY, 1000, 10**9), probe([clip], GEOMETRY, 1000, 2000)
    pixels = sum(map(len, everything.batches))
    assert everything.scale == 1
    assert sum(map(len, few.batches)) * few.scale == pytest.approx(pixels)
    assert sum(map(len, few.batches)) < pixels / 2
    shares = [torch.cat([b.passes for b in p.batches]).bincount(minlength=5) for p in (everything, few)]
    assert torch.allclose(shares[0] / shares[0].sum(), shares[1] / shares[1].sum(), atol=0.03)


# Screens


def test_screens_are_the_ones_that_occur():
    rng = np.random.default_rng(1)
    rooms = rng.integers(0, 5, (3, 24, 30), np.uint8)
    clips = [pack(np.repeat(rooms[[k]], 30, 0), 6) for k in (0, 1, 2, 1)]
    screens = choose_screens(clips)
    assert sorted(s.tobytes() for s in screens) == sorted(r.tobytes() for r in rooms)
    noisy = rooms[2].copy()
    noisy[:3] = 0
    assert np.array_equal(nearest(noisy, list(screens)), rooms[2])


def test_no_screens_of_clips_of_different_sizes():
    assert len(choose_screens([pack(play(8), 6), pack(play(8, width=32), 6)])) == 0


# Integers


def trained_a_little(seed=0, scale=1.0):
    torch.manual_seed(seed)
    network = PredictorNetwork(GEOMETRY, torch.from_numpy(COLOURS))
    sampler = Sampler([pack(play(), 6)], [], GEOMETRY, 0)
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    for step in range(12):
        if step == 8:
            with torch.no_grad():
                for value in network.parameters():
                    value *= scale
            network.calibrate(sampler.batch(0))
        optimizer.zero_grad()
        sum(network.train()(sampler.batch(step))).backward()
        optimizer.step()
    return network.eval(), sampler.batch(20)


def integer_bits(arrays, batch):
    """What the batch takes by the integer network as the codec runs it."""
    integers = IntegerNetwork(arrays, Geometry.from_hyperparameters(hyperparameters(GEOMETRY, np.empty((0, 0, 0)))))
    inputs = arrays["embedding"][batch.windows.numpy()].reshape(len(batch), -1).astype(np.float32)
    total = 0.0
    for turn in range(PASSES):
        mine = batch.passes.numpy() == turn
        hidden = integers.hidden(integers.products(inputs[mine], 0), turn)
        last, codes = batch.last.numpy()[mine], batch.codes.numpy()[mine]
        gate, choices = integers.gate(hidden) / 256, integers.codes(hidden) / 256
        same, weights = last == codes, batch.weights.numpy()[mine]
        total += np.logaddexp(0, np.where(same, -gate, gate)) @ weights
        choices[np.arange(len(last)), last] = -30
        top = np.logaddexp.reduce(choices, 1)
        total += (top - choices[np.arange(len(codes)), codes])[~same] @ weights[~same]
    return total / math.log(2)


@pytest.mark.parametrize("scale", [1.0, 0.01, 6.0])
def test_the_exported_integers_compute_what_was_trained(scale):
    network, batch = trained_a_little(scale=scale)
    arrays = export(network, COLOURS, np.empty((0, 0, 0), np.uint8))
    with torch.no_grad():
        assert integer_bits(arrays, batch) == pytest.approx(float(sum(network(batch))), rel=1e-5)
        hidden = network.hidden_layers(batch, network.layers())[-1] * 2.0 ** network.scales()[-1]
    integers = IntegerNetwork(arrays, GEOMETRY)
    inputs = arrays["embedding"][batch.windows.numpy()].reshape(len(batch), -1).astype(np.float32)
    for turn in range(PASSES):
        mine = batch.passes.numpy() == turn
        assert np.array_equal(integers.hidden(integers.products(inputs[mine], 0), turn), hidden.numpy()[mine])
        assert hidden.numpy().max() > 0


def test_training_with_rounding_still_learns():
    network, _ = trained_a_little()
    sampler = Sampler([pack(play(), 6)], [], GEOMETRY, 0)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)

    def bits():
        with torch.no_grad():
            return sum(float(sum(network.eval()(sampler.batch(step)))) for step in range(90, 100))

    before = bits()
    for step in range(40):
        optimizer.zero_grad()
        sum(network.train()(sampler.batch(step))).backward()
        optimizer.step()
    assert bits() < before * 0.8


def test_tensors_are_as_the_format_says():
    network, _ = trained_a_little()
    screens = np.stack([play(1)[0], play(1, seed=3)[0]])
    arrays = export(network, COLOURS, screens)
    assert arrays["palette"].tobytes() == COLOURS.tobytes()
    assert arrays["embedding"].shape == (258, 4)
    assert not arrays["embedding"][len(COLOURS) : 256].any()
    assert arrays["embedding"][256:].any(1).all()
    assert arrays["first.bias"].shape == (PASSES, 16)
    assert arrays["first.bias"].dtype == np.int32
    assert all(values.dtype in (np.uint8, np.int8, np.int32) for values in arrays.values())
    assert (arrays["codes.bias"][len(COLOURS) :] < -(1 << 20)).all()
    assert not arrays["codes.weight"][len(COLOURS) :].any()
    packed = zstandard.ZstdDecompressor().decompress(arrays["screens"].tobytes())
    assert packed == screens.tobytes()
    assert hyperparameters(GEOMETRY, screens) == {
        "radii": [2, 2, 1, 1, 1],
        "dilation": 2,
        "history": 2,
        "hold": 6,
        "passes": 5,
        "embedding": 4,
        "hidden": 16,
        "layers": 2,
        "screens": [2, 24, 30],
    }


def test_integer_tensors_survive_a_model_file():
    network, _ = trained_a_little()
    arrays = export(network, COLOURS, play(1))
    info = ModelInfo("predictive", hyperparameters(GEOMETRY, play(1)))
    stored = ModelFile.parse(dump_arrays(arrays, info), "m", "m.pacmodel")
    assert stored.info == info
    assert stored.arrays().keys() == arrays.keys()
    for name, values in stored.arrays().items():
        assert values.dtype == arrays[name].dtype
        assert np.array_equal(values, arrays[name])


def test_a_model_of_floats_has_no_integer_tensors():
    stored = ModelFile.parse(dump({"x": np.ones((1, 3), np.float32)}, ModelInfo("conv4", {})), "m", "m.pacmodel")
    with pytest.raises(CorruptFileError, match="type"):
        stored.arrays()


def test_sums_beyond_24_bits_are_refused():
    arrays = {"first.weight": np.full((2, 2000), 127, np.int8), "first.bias": np.zeros((5, 2), np.int32)}
    with pytest.raises(ModelError, match="first"):
        check_bounds("first", arrays, 128)
    arrays["first.weight"][:, 1000:] = 0
    check_bounds("first", arrays, 128)
    arrays["first.bias"][3, 1] = 1 << 24
    with pytest.raises(ModelError):
        check_bounds("first", arrays, 128)


@settings(max_examples=60, deadline=None)
@given(
    st.floats(-14, 5),
    st.floats(-14, 8),
    st.integers(-2, 10),
    st.integers(-2, 10),
    st.sampled_from([128, 255]),
    st.integers(0, 2**32 - 1),
)
def test_rows_of_any_size_are_rounded_within_bounds(weights, biases, scale, out, most, seed):
    rng = np.random.default_rng(seed)
    weight = torch.from_numpy(rng.normal(0, 2.0**weights, (3, 1400)).astype(np.float32))
    weight[0] *= rng.random()
    bias = torch.from_numpy(rng.normal(0, 2.0**biases, (2, 3)).astype(np.float32))
    rows = rounded_rows(weight, bias, scale, most, out)
    shift = rows.bits + scale - out
    assert shift.min() >= 0
    whole = rows.weight * torch.exp2(rows.bits)[:, None]
    assert torch.equal(whole, whole.round())
    assert whole.abs().max() <= 127
    whole_bias = rows.bias.double() * torch.exp2(rows.bits + scale)
    assert torch.equal(whole_bias, whole_bias.round())
    if (shift > 0).all():  # else it was larger than the integers can be scaled to, and is cut off
        reach = whole.abs().sum(1) * most + whole_bias.abs().amax(0) + torch.exp2(shift - 1)
        assert reach.max() < 1 << 24


# Reports and held-out parts


def test_flags_cost_nothing_where_nothing_surprises():
    clips = [pack(play(), 6)]
    assert flag_bits(clips, 0) == 0
    assert 0 < flag_bits(clips, 0.5) < flag_bits(clips, 2) < 12


def test_other_methods_are_measured_on_the_same_frames():
    still, moving = (peers([pack(grids, 6)], COLOURS) for grids in (np.ones((30, 24, 30), np.uint8), play(30)))
    assert still.keys() == moving.keys() == {"zstd -19", "xz", "x264 lossless"}
    assert all(0 < still[name] < moving[name] for name in still)


@settings(deadline=None)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=25))
def test_every_frame_has_one_role(lengths):
    if len(lengths) < 3 and sum(lengths) < 5:
        with pytest.raises(UsageError, match="too few"):
            split(lengths, 0, 0)
        return
    roles = split(lengths, 0, 0)
    frames = [
        (part.clip, t)
        for role in (roles.train, roles.validation, roles.test)
        for part in role
        for t in range(*part[1:])
    ]
    assert sorted(frames) == [(clip, t) for clip, length in enumerate(lengths) for t in range(length)]
    assert all((roles.train, roles.validation, roles.test))


def test_one_named_clip_serves_for_validation_and_test():
    roles = split([4, 3], 0, 1)
    assert [part.clip for part in roles.train] == [0]
    assert roles.validation == roles.test
