import contextlib
import hashlib
import struct

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from predictive import pull, push

from pacodec.errors import CorruptFileError, UnsupportedError
from pacodec.grids import GridSpec
from pacodec.predictors import get_predictor

UNTRAINED = ("none", "adaptive")

KINDS = [("none", False), ("none", True), ("adaptive", False), ("adaptive", True)]
# Of the range coder's part alone: what zstd writes for the first grid may change with its version.
GOLDEN_ADAPTIVE = {
    False: "81bc44d2afe011985f350576c56824ed6b0ee5b63afa9c407dd46688a0d0931d",
    True: "51f69343530f49ca9d13f0b40413810ba63a6f5e7ead890cfc1828ee2a6fee0d",
}
GOLDEN_NONE = bytes.fromhex("28b52ffd0068e5000082c10307e00f00504a4a29beaa5a550100010300774fa1c2e1684f26")


def spec_of(grids, ordinal):
    return GridSpec(*grids.shape[1:], ordinal)


def encode(name, grids, ordinal, sizes=()):
    return push(get_predictor(name).encoder(spec_of(grids, ordinal)), grids, sizes)[0]


def decode(name, payload, spec, count, sizes=()):
    return pull(get_predictor(name).decoder(spec, payload), count, sizes)


def sprites(frames=40, height=40, width=48, channels=1):
    """Labels: two textured squares over a fixed background, moving and bouncing; integer arithmetic only."""
    y, x = np.mgrid[0:height, 0:width]
    background = ((x * x + 3 * y * y) // 97 % 5 * 40).astype(np.uint8)
    texture = (np.arange(81).reshape(9, 9) ** 2 % 61 + 100).astype(np.uint8)
    grids = np.repeat(background[None, None], frames, 0).repeat(channels, 1)
    for t in range(frames):
        for k, (vy, vx) in enumerate(((1, 2), (2, 1))):
            top, left = abs((t * vy + 11 * k) % 60 - 30), abs((t * vx + 23 * k) % 70 - 35)
            for channel in range(channels):
                grids[t, channel, top : top + 9, left : left + 9] = texture + 50 * channel
    return grids


def waves(frames=40, channels=24, height=5, width=6):
    """Ordered codes: triangle waves of different speeds with a little jitter; integer arithmetic only."""
    t, c, y, x = np.ogrid[0:frames, 0:channels, 0:height, 0:width]
    phase = t * (1 + c % 3) * ((x + y) % 4) + 17 * c + 5 * x + 9 * y
    jitter = (t * 7919 + c * 104729 + x * 1299709 + y * 15485863) % 1009 % 3
    return (abs(phase % 400 - 200) + jitter).astype(np.uint8)


def drifts(frames=100, channels=64, height=5, width=6):
    """Ordered codes: random walks whose steps are as large as their place and their grid are lively."""
    rng = np.random.default_rng(2)
    liveliness = rng.exponential(3, (1, 1, height, width)) * rng.exponential(1, (frames, 1, height, width))
    steps = rng.normal(size=(frames, channels, height, width)) * liveliness
    return (np.cumsum(steps, 0).round().astype(np.int64) & 255).astype(np.uint8)


def example(ordinal):
    return waves() if ordinal else sprites()


@st.composite
def any_grids(draw):
    shape = (draw(st.integers(0, 5)), *(draw(st.integers(1, n)) for n in (5, 19, 21)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    levels = draw(st.sampled_from([1, 2, 7, 256]))
    grids = rng.integers(0, levels, shape).astype(np.uint8)
    if draw(st.booleans()):  # static but for a few codes
        grids[1:] = np.where(rng.random(grids[1:].shape) < 0.05, grids[1:], grids[:1])
    return grids


@pytest.mark.parametrize("name", UNTRAINED)
@settings(deadline=None, max_examples=20)
@given(grids=any_grids(), ordinal=st.booleans(), pushes=st.lists(st.integers(0, 3)), pulls=st.lists(st.integers(0, 3)))
def test_any_grids_in_any_batches_come_back(name, grids, ordinal, pushes, pulls):
    payload = encode(name, grids, ordinal, pushes)
    assert payload == encode(name, grids, ordinal)
    np.testing.assert_array_equal(decode(name, payload, spec_of(grids, ordinal), len(grids), pulls), grids)


@pytest.mark.parametrize("ordinal", [False, True])
def test_golden_bytes_of_adaptive(ordinal):
    payload = encode("adaptive", example(ordinal), ordinal)
    (first,) = struct.unpack_from("<I", payload)
    assert hashlib.sha256(payload[4 + first :]).hexdigest() == GOLDEN_ADAPTIVE[ordinal]


def test_golden_bytes_of_none():
    grids = (np.arange(3 * 2 * 4 * 5) // 7 % 3).astype(np.uint8).reshape(3, 2, 4, 5)
    np.testing.assert_array_equal(decode("none", GOLDEN_NONE, GridSpec(2, 4, 5, False), 3), grids)


@pytest.mark.parametrize(("ordinal", "most"), [(False, 0.6), (True, 0.85)])
def test_adaptive_beats_zstd_where_there_is_something_to_learn(ordinal, most):
    grids = drifts() if ordinal else sprites(120)
    assert len(encode("adaptive", grids, ordinal)) < most * len(encode("none", grids, ordinal))


def test_adaptive_pays_little_for_noise():
    grids = np.random.default_rng(5).integers(0, 256, (20, 200, 4, 4), dtype=np.uint8)
    assert len(encode("adaptive", grids, True)) < 1.02 * len(encode("none", grids, True))


def test_corrections_that_follow_the_index_are_nearly_free():
    grids = sprites(30, channels=4)
    alone = len(encode("adaptive", grids[:, :1], False))
    assert len(encode("adaptive", grids, False)) < 2 * alone


def test_a_change_of_every_code_is_coded():
    grids = np.random.default_rng(1).integers(0, 256, (2, 2, 90, 75), dtype=np.uint8)
    np.testing.assert_array_equal(decode("adaptive", encode("adaptive", grids, False), spec_of(grids, False), 2), grids)


@pytest.mark.parametrize(("name", "ordinal"), KINDS)
@settings(deadline=None, max_examples=15)
@given(data=st.data())
def test_damage_ends_in_an_error_or_in_other_codes(name, ordinal, data):
    grids = example(ordinal)[:6]
    payload = bytearray(encode(name, grids, ordinal))
    if data.draw(st.booleans(), label="cut"):
        del payload[data.draw(st.integers(0, len(payload) - 1)) :]
    for _ in range(data.draw(st.integers(0, 3), label="flips")):
        if payload:
            payload[data.draw(st.integers(0, len(payload) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        decoded = decode(name, bytes(payload), spec_of(grids, ordinal), len(grids))
    except CorruptFileError:
        return
    assert decoded.shape == grids.shape


@pytest.mark.parametrize(("name", "ordinal"), KINDS)
@settings(deadline=None, max_examples=15)
@given(payload=st.binary(max_size=200))
def test_junk_ends_in_an_error_or_in_other_codes(name, ordinal, payload):
    with contextlib.suppress(CorruptFileError):
        assert decode(name, payload, GridSpec(2, 9, 10, ordinal), 3).shape == (3, 2, 9, 10)


@pytest.mark.parametrize("name", UNTRAINED)
def test_an_empty_payload_holds_no_grid(name):
    with pytest.raises(CorruptFileError):
        decode(name, b"", GridSpec(1, 4, 4, False), 1)


@pytest.mark.parametrize(("name", "ordinal"), KINDS)
def test_grids_that_nobody_asked_for_are_noticed(name, ordinal):
    grids = example(ordinal)
    with pytest.raises(CorruptFileError):
        decode(name, encode(name, grids, ordinal), spec_of(grids, ordinal), 3)


def test_a_zstd_window_over_the_bound_is_refused():
    parameters = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=0)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    bomb = compressor.compress(bytes(1 << 20)) + compressor.flush()
    spec = GridSpec(1, 64, 64, False)
    for name, payload in (("none", bomb), ("adaptive", struct.pack("<I", len(bomb)) + bomb)):
        with pytest.raises(CorruptFileError):
            get_predictor(name).decoder(spec, payload).pull(1)


def test_a_first_grid_that_is_too_long_is_refused():
    frame = zstandard.compress(bytes(5000))
    decoder = get_predictor("adaptive").decoder(GridSpec(1, 64, 64, False), struct.pack("<I", len(frame)) + frame)
    with pytest.raises(CorruptFileError, match="goes on"):
        decoder.pull(1)


@pytest.mark.parametrize("name", UNTRAINED)
def test_the_registry_knows_a_predictor_by_its_own_name(name):
    assert get_predictor(name).name == name


def test_an_unknown_predictor_is_unsupported():
    with pytest.raises(UnsupportedError, match="none, adaptive"):
        get_predictor("clairvoyant")
