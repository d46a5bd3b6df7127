"""Codes that are worth their changes."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacodec.gop.rate_distortion import spans, steady_codes

LEVELS = np.array([0, 9, 20, 50])


def costs(weight=1.0):
    """Squared distances of four levels; no other code stands for any."""
    table = np.full((256, 256), np.inf)
    np.fill_diagonal(table, 0)
    table[:4, :4] = np.square(LEVELS[:, None] - LEVELS) / weight
    return table


def price(wanted, codes, table, change, before):
    """What a pixel's sequence of codes costs."""
    moves = [*([before] if before is not None else []), *codes]
    return sum(table[w, c] for w, c in zip(wanted, codes, strict=True)) + change * np.count_nonzero(np.diff(moves))


@settings(deadline=None, max_examples=60)
@given(
    wanted=st.lists(st.integers(0, 3), min_size=1, max_size=5),
    change=st.floats(0, 2000),
    before=st.none() | st.integers(0, 3),
)
def test_no_other_sequence_costs_less(wanted, change, before):
    grids = np.array(wanted, np.uint8)[:, None, None, None]
    start = None if before is None else np.full((1, 1, 1), before, np.uint8)
    chosen = steady_codes(grids, costs(), change, start).ravel().tolist()
    least = min(price(wanted, codes, costs(), change, before) for codes in product(range(4), repeat=len(wanted)))
    assert price(wanted, chosen, costs(), change, before) == pytest.approx(least, rel=1e-5, abs=1e-3)


def test_each_pixel_is_decided_by_itself():
    rng = np.random.default_rng(0)
    grids = rng.integers(0, 4, (12, 1, 7, 5)).astype(np.uint8)
    together = steady_codes(grids, costs(100), 8.0, grids[0])
    for y, x in np.ndindex(7, 5):
        alone = steady_codes(grids[:, :, y : y + 1, x : x + 1], costs(100), 8.0, grids[0, :, y : y + 1, x : x + 1])
        np.testing.assert_array_equal(together[:, :, y : y + 1, x : x + 1], alone)


def test_noise_stays_and_movement_moves():
    grids = np.repeat(np.array([0, 1, 0, 1, 0, 3, 3, 2, 3], np.uint8)[:, None, None, None], 6, 3)
    assert steady_codes(grids, costs(500), 4.0)[:, 0, 0, 0].tolist() == [0, 0, 0, 0, 0, 3, 3, 3, 3]


def test_spans_say_how_long_each_code_stays_and_where_it_begins():
    grids = np.array([2, 2, 5, 5, 5, 2], np.uint8)[:, None, None, None]
    assert (spans(grids)[:, 0, 0] & 0x7FFF).tolist() == [2, 1, 3, 2, 1, 1]
    assert (spans(grids)[:, 0, 0] >> 15).tolist() == [1, 0, 1, 0, 0, 1]
    assert (spans(grids, grids[0])[:, 0, 0] >> 15).tolist() == [0, 0, 1, 0, 0, 1]


def test_codes_that_nothing_else_stands_for_are_kept():
    grids = np.array([0, 200, 0, 1, 0], np.uint8)[:, None, None, None]
    np.testing.assert_array_equal(steady_codes(grids, costs(), 1e9), grids)
