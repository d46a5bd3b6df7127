"""Rounds within a pass, and what they tell each other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from predictive import encode, make_predictor

from pacodec.predictors import tally
from pacodec.predictors.tally import TREND, Tally, rounds


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), n=st.integers(0, 400), spacing=st.sampled_from([1, 2, 4]))
def test_rounds_hold_every_pixel_once(seed, n, spacing):
    places = np.sort(np.random.default_rng(seed).choice(60 * 50, n, replace=False))
    parts = rounds(places, 60, spacing)
    assert all(len(part) and (np.diff(part) > 0).all() for part in parts)
    np.testing.assert_array_equal(np.sort(np.concatenate([*parts, []])), np.arange(n))
    assert n >= 64 or len(parts) <= 1


def test_of_every_long_line_some_pixels_come_first():
    places = np.arange(128 * 128)
    first = rounds(places, 128, 1)[0]
    assert len(first) == 128 * 128 // 64
    for line in np.divmod(first, 128):
        assert (np.bincount(line, minlength=128) == 2).all()


def test_a_tally_counts_by_line_and_last_code():
    counted = Tally((20, 30))
    places, last = np.array([3 * 30 + 4, 3 * 30 + 9, 5 * 30 + 4]), np.array([7, 7, 7], np.uint8)
    assert not counted.states(places, last).any()
    counted.add(places, last, np.array([False, True, False]))
    rows, columns = counted.states(np.array([3 * 30 + 20, 5 * 30 + 4, 6 * 30 + 4]), last)
    assert rows.tolist() == [1 * 4 + 1, 1 * 4, 0]
    assert columns.tolist() == [0, 2 * 4, 2 * 4]
    assert not counted.states(places, last + np.uint8(1)).any()
    assert TREND[rows].tolist() == [2, 2, 0]
    counted.clear()
    assert not counted.states(places, last).any()


def test_a_line_that_flips_as_a_whole_is_told_once(monkeypatch):
    rng = np.random.default_rng(0)
    flips = rng.random((40, 24)) < 0.1
    lines = np.bitwise_xor.accumulate(flips.astype(np.uint8), axis=0)
    grids = np.repeat(lines[:, None, :, None], 96, 3)
    predictor = make_predictor()
    told_once = len(encode(predictor, grids)[0])
    monkeypatch.setattr(tally, "_WORTH_ROUNDS", 1 << 30)
    assert told_once < 0.85 * len(encode(predictor, grids)[0])


@pytest.mark.parametrize(
    ("changed", "kept", "trend"), [(0, 0, 0), (0, 3, 1), (1, 2, 1), (2, 2, 2), (3, 3, 2), (3, 0, 2)]
)
def test_the_trend_is_that_of_most(changed, kept, trend):
    assert TREND[changed * 4 + kept] == trend
