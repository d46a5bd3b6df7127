"""What must hold of any footage: it comes back as it went in, and in parts as in one go."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import Clip
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import pacodec
from pacodec.common.media import VideoFormat
from pacodec.video.writer import VideoWriter

COLOURS = np.random.default_rng(7).integers(0, 256, (16, 3), np.uint8)
CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@st.composite
def clips(draw: st.DrawFn) -> tuple[list[NDArray[np.uint8]], list[int], Fraction]:
    """Pictures uint8 [H, W, 3] of any size, some of them repeated, when each is shown, and the time base."""
    width, height = draw(st.integers(2, 40)), draw(st.integers(2, 40))
    count = draw(st.integers(1, 12))
    base = Fraction(1, draw(st.sampled_from([25, 1000, 12800, 90000])))
    steps = draw(st.lists(st.integers(1, 3 * base.denominator // 10), min_size=count, max_size=count))
    times = np.cumsum([draw(st.integers(0, base.denominator)), *steps[1:]]).tolist()
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    pictures: list[NDArray[np.uint8]] = []
    for _ in range(count):
        if pictures and draw(st.booleans()):
            pictures.append(pictures[-1])
        else:
            pictures.append(COLOURS[rng.integers(0, draw(st.integers(1, 16)), (height, width))])
    return pictures, times, base


def write(path: Path, pictures: list[NDArray[np.uint8]], times: list[int], base: Fraction) -> None:
    height, width = pictures[0].shape[:2]
    with VideoWriter(path, VideoFormat(width, height, base), codec="lossless") as writer:
        for rgb, pts, end in zip(pictures, times, [*times[1:], times[-1] + base.denominator // 25], strict=True):
            writer.write_frame(rgb, pts, end - pts)


@settings(max_examples=12, deadline=None, suppress_health_check=CHECKS)
@given(clips(), st.floats(0.01, 2), st.sampled_from(["none", "engine", None]), st.integers(1, 3))
def test_any_size_length_times_and_gops_survive_a_round_trip(
    tmp_path: Path, clip: Any, gop_seconds: float, coder: str | None, jobs: int
) -> None:
    pictures, times, base = clip
    source, coded, target = tmp_path / "in.mp4", tmp_path / "a.pac", tmp_path / "out.mp4"
    write(source, pictures, times, base)
    report = pacodec.encode(
        str(source),
        str(coded),
        lossless=True,
        gop_seconds=gop_seconds,
        coder=coder,
        jobs=jobs,
        overwrite=True,
        verify=True,
    )
    assert report.frames == len(pictures)
    assert report.psnr == 100
    with pacodec.open(coded) as video:
        assert len(video) == len(pictures)
        np.testing.assert_array_equal(video[:], pictures)
        np.testing.assert_allclose(video.times(), [float(pts * base) for pts in times], atol=1e-9)
    pacodec.decode(str(coded), str(target), lossless=True, jobs=jobs, overwrite=True)
    copy, original = Clip(target), Clip(source)
    np.testing.assert_array_equal(copy.pictures, pictures)
    assert [pts for pts, _ in copy.times] == [pts for pts, _ in original.times]


@pytest.fixture(scope="module", params=["none", "engine"])
def opened(request, tmp_path_factory):
    """A clip of 40 frames in GOPs of seven, and its pictures one after another."""
    rng = np.random.default_rng(4)
    pictures = [COLOURS[rng.integers(0, 16, (12, 20))] for _ in range(40)]
    for n in (3, 4, 14, 20, 39):
        pictures[n] = pictures[n - 1]
    folder = tmp_path_factory.mktemp("access")
    write(folder / "in.mp4", pictures, [2 * n for n in range(40)], Fraction(1, 50))
    options = {"lossless": True, "gop_seconds": 0.28, "coder": request.param}
    pacodec.encode(str(folder / "in.mp4"), str(folder / "a.pac"), **options)
    with pacodec.open(folder / "a.pac") as video:
        in_order = list(np.concatenate(list(video.batches())))
        np.testing.assert_array_equal(in_order, pictures)
        yield video, in_order, [video.codes(n) for n in range(40)], folder / "a.pac"


@settings(max_examples=30, deadline=None, suppress_health_check=CHECKS)
@given(data=st.data())
def test_random_access_equals_decoding_in_order(opened: Any, data: st.DataObject) -> None:
    """One decoder sees all of this, in whatever state the access before left it."""
    video, in_order, codes, _ = opened
    frame = st.integers(-40, 39)
    match data.draw(st.sampled_from(["frame", "codes", "slice", "batches", "time"])):
        case "frame":
            n = data.draw(frame)
            np.testing.assert_array_equal(video[n], in_order[n])
        case "codes":
            n = data.draw(frame)
            np.testing.assert_array_equal(video.codes(n), codes[n])
        case "slice":
            wanted = slice(data.draw(frame), data.draw(frame), data.draw(st.sampled_from([1, 2, 5, -1, -3])))
            np.testing.assert_array_equal(video[wanted], in_order[wanted])
        case "batches":
            start, stop = data.draw(frame), data.draw(frame)
            found = [picture for batch in video.batches(start, stop) for picture in batch]
            np.testing.assert_array_equal(found, in_order[start:stop])
        case "time":
            first, last = sorted(data.draw(st.tuples(st.integers(0, 80), st.integers(0, 80))))
            found = list(video.frames_between(first / 50, last / 50))
            expected = [p for n, p in enumerate(in_order) if 2 * n < last and 2 * n + 2 > first and first < last]
            np.testing.assert_array_equal(found, expected)


@settings(max_examples=6, deadline=None, suppress_health_check=CHECKS)
@given(bounds=st.tuples(st.integers(0, 79), st.integers(1, 90)).filter(lambda b: b[0] < b[1]))
def test_any_cut_has_the_frames_that_are_shown_then(
    opened: Any, bounds: tuple[int, int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    _, in_order, _, path = opened
    start, end = bounds
    target = tmp_path_factory.mktemp("cut") / "out.mp4"
    pacodec.decode(str(path), str(target), start=start / 50, end=end / 50, lossless=True)
    expected = [picture for n, picture in enumerate(in_order) if 2 * n < end and 2 * n + 2 > start]
    np.testing.assert_array_equal(Clip(target).pictures, expected)
