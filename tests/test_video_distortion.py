"""The PSNR that is reported: pooled over all frames, with that of the worst one beside it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacodec.common.metrics import Distortion, psnr


def pictures(seed, frames=6, size=(12, 20)):
    return np.random.default_rng(seed).integers(0, 256, (frames, *size, 3), dtype=np.uint8)


def decibels(a, b):
    return 10 * np.log10(255**2 / np.mean((np.float64(a) - np.float64(b)) ** 2))


def test_pooled_over_all_values_of_all_frames():
    a, b = pictures(1), pictures(2)
    found = Distortion.of(a[:4], b[:4]) + Distortion.of(a[4:], b[4:])
    assert found.frames == 6
    assert found.psnr == pytest.approx(decibels(a, b))
    assert found.worst_psnr == pytest.approx(min(decibels(x, y) for x, y in zip(a, b, strict=True)))


def test_exact_frames_do_not_hide_a_bad_one():
    a = pictures(3, frames=100)
    b = a.copy()
    b[70] = 255 - b[70]
    found = Distortion.of(a, b)
    assert found.psnr == pytest.approx(decibels(a[70], b[70]) + 20)  # a hundredth of its error
    assert psnr(a, b).mean() > 90


def test_what_is_exact_lost_nothing():
    a = pictures(4)
    assert Distortion() + Distortion.of(a, a.copy()) == Distortion(6)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=12), st.data())
def test_parts_in_any_order_give_the_whole(errors, data):
    a = np.zeros((len(errors), 2, 2, 3), np.uint8)
    b = a + np.array(errors, np.uint8)[:, None, None, None]
    parts = [Distortion.of(a[n : n + 1], b[n : n + 1]) for n in range(len(a))]
    assert sum(data.draw(st.permutations(parts)), Distortion()) == Distortion.of(a, b)
