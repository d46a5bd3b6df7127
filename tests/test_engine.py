"""The engine: what it codes comes back, whatever comes in does no harm, and what it learned can be kept."""

import zlib
from contextlib import suppress

import numpy as np
import pytest
from authored import segment, spec_of
from hypothesis import given, settings
from hypothesis import strategies as st

from pacodec import limits
from pacodec.common.media import GridSpec
from pacodec.engine import (
    DifferencesDecoder,
    DifferencesEncoder,
    Prior,
    Recording,
    Segment,
    SegmentDecoder,
    SegmentEncoder,
    State,
    replay,
    state_bytes,
)
from pacodec.engine.prior import STATE_CACHE_VARIABLE, prior_of, state_cache_folder
from pacodec.errors import CorruptFileError, LimitError


def moving(frames=6, channels=1, height=20, width=27, seed=0, levels=5):
    """Grids in which a few blocks change from one to the next, uint8 [frames, channels, height, width]."""
    rng = np.random.default_rng(seed)
    grids = np.repeat(rng.integers(0, levels, (1, channels, height, width), np.uint8), frames, 0)
    for number in range(1, frames):
        top, left = rng.integers(height), rng.integers(width)
        grids[number:, :, top : top + 5, left : left + 7] = rng.integers(0, levels)
    return grids


shapes = st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 40), st.integers(1, 40))


@settings(max_examples=60)
@given(shapes, st.booleans(), st.integers(0, 2**32 - 1), st.sampled_from([2, 9, 256]), st.integers(1, 4))
def test_grids_come_back(shape, ordinal, seed, levels, step):
    grids = moving(*shape, seed=seed, levels=levels)
    spec = spec_of(grids, ordinal)
    encoder = SegmentEncoder(State.fresh(spec))
    for start in range(0, len(grids), step):
        np.testing.assert_array_equal(encoder.push(grids[start : start + step]), grids[start : start + step])
    data = encoder.finish()
    assert data == segment(grids, ordinal)
    decoder = SegmentDecoder(State.fresh(spec), data)
    np.testing.assert_array_equal(decoder.pull(len(grids)), grids)
    decoder.finish()


@settings(max_examples=30)
@given(shapes, st.integers(0, 2**32 - 1))
def test_differences_come_back(shape, seed):
    grids = moving(*shape, seed=seed)
    encoder = DifferencesEncoder(spec_of(grids))
    encoder.push(grids)
    decoder = DifferencesDecoder(spec_of(grids), encoder.finish())
    np.testing.assert_array_equal(decoder.pull(len(grids)), grids)
    decoder.finish()


def test_encoder_and_decoder_know_the_same_after_a_segment():
    one, other = moving(seed=1), moving(seed=2)
    encoding, decoding = State.fresh(spec_of(one)), State.fresh(spec_of(one))
    encoder = SegmentEncoder(encoding)
    encoder.push(one)
    decoder = SegmentDecoder(decoding, encoder.finish())
    decoder.pull(len(one))
    decoder.finish()
    second = []
    for state in (encoding, decoding):
        encoder = SegmentEncoder(state)
        encoder.push(other)
        second.append(encoder.finish())
    assert second[0] == second[1]


@pytest.mark.parametrize("shared", [False, True])
def test_what_was_seen_before_makes_a_segment_smaller(shared, monkeypatch):
    if shared:
        monkeypatch.setattr("pacodec.engine.prior.SHARED_PIXELS", 1)
    grids = moving(12, 1, 64, 64)
    prior = Prior(State.fresh(spec_of(grids)))
    after = prior.after(Recording(spec_of(grids), [Segment(len(grids), segment(grids))]))
    with after.borrowed() as state:
        encoder = SegmentEncoder(state)
        encoder.push(grids)
        assert len(encoder.finish()) < len(segment(grids)) / 3
    with prior.borrowed() as state:  # which is what it was
        encoder = SegmentEncoder(state)
        encoder.push(grids)
        assert encoder.finish() == segment(grids)


def test_a_recording_of_fewer_channels_serves_grids_of_more():
    grids, wide = moving(), moving(channels=2)
    recording = Recording(spec_of(grids), [Segment(len(grids), segment(grids))])
    states = [State.fresh(spec_of(wide)) for _ in range(2)]
    for state in states:
        replay(recording, state)
    np.testing.assert_array_equal(states[0].bytes, states[1].bytes)
    with pytest.raises(CorruptFileError, match="cannot serve"):
        replay(recording, State.fresh(GridSpec(1, 8, 8, ordinal=False)))


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(0, 3000), st.integers(2, 12), st.none() | st.integers(1, 0xFFFF))
def test_codes_that_are_chosen_are_those_that_come_back(seed, price, levels, longest):
    grids = moving(5, 1, 24, 24, seed, levels)
    costs = np.full((256, 256), price, np.uint16)
    np.fill_diagonal(costs, 0)
    costs[:, levels:] = 65535
    encoder = SegmentEncoder(State.fresh(spec_of(grids)), costs)
    before = grids.copy()
    spans = longest and np.random.default_rng(seed).integers(1, longest + 1, grids[:, 0].shape, np.uint16)
    coded = encoder.push(grids, spans)
    np.testing.assert_array_equal(grids, before)
    decoder = SegmentDecoder(State.fresh(spec_of(grids)), encoder.finish())
    np.testing.assert_array_equal(decoder.pull(len(grids)), coded)
    assert coded.max() < levels


@settings(max_examples=150)
@given(st.binary(max_size=400), shapes, st.booleans())
def test_any_bytes_are_grids_or_a_named_error(data, shape, ordinal):
    frames, channels, height, width = shape
    spec = GridSpec(channels, height, width, ordinal)
    with suppress(CorruptFileError):
        decoder = SegmentDecoder(State.fresh(spec), data)
        assert decoder.pull(frames).shape == shape
        decoder.finish()


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 255))
def test_a_damaged_segment_does_no_harm(position, change):
    grids = moving(8, 2, 30, 30)
    data = bytearray(segment(grids))
    data[position % len(data)] ^= change
    decoder = SegmentDecoder(State.fresh(spec_of(grids)), bytes(data))
    with suppress(CorruptFileError):
        assert decoder.pull(len(grids)).shape == grids.shape
        decoder.finish()


def test_memory_is_bounded_before_it_is_taken(monkeypatch):
    monkeypatch.setenv(limits.MEMORY_VARIABLE, "1")
    with pytest.raises(LimitError, match=r"1x400x600 takes \d+ MiB of memory, allowed are 1"):
        State.fresh(GridSpec(1, 400, 600, ordinal=False))


# --- snapshots ---


@pytest.fixture
def cached(monkeypatch, tmp_path):
    monkeypatch.setenv(STATE_CACHE_VARIABLE, str(tmp_path / "states"))
    grids = moving()
    recording = Recording(spec_of(grids), [Segment(len(grids), segment(grids))])
    return recording, tmp_path / "states"


def coded_after(prior):
    with prior.borrowed() as state:
        encoder = SegmentEncoder(state)
        encoder.push(moving(seed=4))
        return encoder.finish()


def test_a_snapshot_is_used_again(cached, monkeypatch):
    recording, where = cached
    first = coded_after(prior_of(recording, recording.spec))
    (path,) = where.iterdir()
    assert path.stat().st_mode & 0o077 == 0
    monkeypatch.setattr("pacodec.engine.prior.replay", None)  # which is not needed any more
    assert coded_after(prior_of(recording, recording.spec)) == first


@pytest.mark.parametrize("harm", ["flip", "shorter", "link", "writable"])
def test_a_snapshot_that_cannot_be_trusted_is_made_anew(harm, cached, tmp_path):
    recording, where = cached
    first = coded_after(prior_of(recording, recording.spec))
    (path,) = where.iterdir()
    data = path.read_bytes()
    if harm == "flip":
        path.write_bytes(data[:5000] + bytes([data[5000] ^ 1]) + data[5001:])
    elif harm == "shorter":
        path.write_bytes(data[:-1])
    else:
        wrong = bytes(len(data) - 4)  # with a checksum that fits
        (tmp_path / "other").write_bytes(wrong + zlib.crc32(wrong).to_bytes(4, "little"))
        path.unlink()
        if harm == "link":
            path.symlink_to(tmp_path / "other")
        else:
            (tmp_path / "other").rename(path)
            path.chmod(0o666)
    assert coded_after(prior_of(recording, recording.spec)) == first


def test_snapshots_can_be_switched_off(cached, monkeypatch):
    recording, where = cached
    monkeypatch.setenv(STATE_CACHE_VARIABLE, "off")
    prior_of(recording, recording.spec)
    assert state_cache_folder() is None
    assert not where.exists()


def test_snapshots_are_bounded(cached, monkeypatch):
    recording, where = cached
    size = state_bytes(recording.spec)
    monkeypatch.setattr("pacodec.engine.prior.STATE_CACHE_BYTES", int(2.5 * size))
    for seed in range(4):
        grids = moving(seed=seed)
        prior_of(Recording(spec_of(grids), [Segment(len(grids), segment(grids))]), spec_of(grids))
    assert len(list(where.iterdir())) == 2
