"""The PSNR that is reported: pooled over all frames, with the worst one beside it, and "exact" where it is."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacodec.errors import CorruptFileError
from pacodec.metrics import Distortion, psnr, squared_errors


def pictures(seed, frames=6, size=(12, 20)):
    return np.random.default_rng(seed).integers(0, 256, (frames, *size, 3), dtype=np.uint8)


def decibels(a, b):
    return 10 * np.log10(255**2 / np.mean((np.float64(a) - np.float64(b)) ** 2))


def test_pooled_over_all_values_of_all_frames():
    a, b = pictures(1), pictures(2)
    found = Distortion()
    found.add(a[:4], b[:4])
    found.add(a[4:], b[4:])
    assert found.frames == 6
    assert found.psnr == pytest.approx(decibels(a, b))
    each = [decibels(x, y) for x, y in zip(a, b, strict=True)]
    assert found.worst_frame == int(np.argmin(each))
    assert found.worst_psnr == pytest.approx(min(each))
    assert not found.exact
    assert str(found).startswith(f"{found.psnr:.2f} dB")


def test_exact_frames_do_not_hide_a_bad_one():
    a = pictures(3, frames=100)
    b = a.copy()
    b[70] = 255 - b[70]
    found = Distortion()
    found.add(a, b)
    assert found.psnr == pytest.approx(decibels(a[70], b[70]) + 20)  # a hundredth of its error
    assert found.worst_frame == 70
    assert psnr(a, b).mean() > 90


def test_exact_is_said():
    a = pictures(4)
    found = Distortion()
    found.add(a, a.copy())
    assert (found.exact, str(found), found.psnr, found.worst_frame) == (True, "exact", math.inf, None)


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(1, 10**6)), min_size=1), st.data())
def test_parts_in_any_order_give_the_whole(frames, data):
    whole = Distortion()
    parts = [Distortion() for _ in range(3)]
    for number, (error, values) in enumerate(frames):
        whole.add_error(error, values)
        parts[data.draw(st.integers(0, 2))].add_error(error, values, number)
    together = Distortion()
    for part in data.draw(st.permutations(parts)):
        together.merge(Distortion.from_dict(json.loads(json.dumps(part.to_dict()))))
    assert together.to_dict() == whole.to_dict()


def test_sums_are_exact_for_large_and_extreme_pictures():
    a = np.zeros((1, 300, 500, 3), np.uint8)
    assert squared_errors(a, a + 255).tolist() == [300 * 500 * 3 * 255**2]


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="shape"):
        Distortion().add(pictures(1), pictures(1)[:, :6])


@pytest.mark.parametrize("data", [None, {}, [], {"frames": -1}, {**Distortion().to_dict(), "values": "3"}])
def test_records_that_are_not_such_are_refused(data):
    with pytest.raises(CorruptFileError):
        Distortion.from_dict(data)
