"""The decoder beside torchcodec's own, on the same footage, and under torchcodec's samplers."""

import numpy as np
import pytest
import torch
from conftest import screen

import pacodec
from pacodec.errors import UsageError

try:
    from torchcodec import samplers
    from torchcodec.decoders import VideoDecoder as Theirs
except (ImportError, RuntimeError, OSError) as error:  # it wants FFmpeg's shared libraries, which pip does not bring
    pytest.skip(f"torchcodec cannot be loaded: {str(error).splitlines()[0]}", allow_module_level=True)

FRAMES = 24


@pytest.fixture(scope="module")
def ours(screens_pac):
    with pacodec.VideoDecoder(screens_pac, dimension_order="NCHW", as_torch=True) as opened:
        yield opened


@pytest.fixture(scope="module")
def theirs(screens):
    return Theirs(str(screens))


def same(ours, theirs):
    """Whether two frames, or batches of them, hold the same."""
    assert ours.data.dtype == theirs.data.dtype
    assert torch.equal(ours.data, theirs.data)
    for name in ("pts_seconds", "duration_seconds"):
        assert type(getattr(ours, name)) is type(getattr(theirs, name))
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=1e-9)


@pytest.mark.parametrize("index", [0, 11, 23, -1, -24])
def test_one_frame(ours, theirs, index):
    same(ours.get_frame_at(index), theirs.get_frame_at(index))


@pytest.mark.parametrize("indices", [[3], [5, 6, 7], [20, 2, 2, -1, 11, 0]])
def test_frames(ours, theirs, indices):
    same(ours.get_frames_at(indices), theirs.get_frames_at(indices))
    same(ours.get_frames_at(torch.tensor(indices)), theirs.get_frames_at(torch.tensor(indices)))


@pytest.mark.parametrize("bounds", [(0, 24), (3, 20, 5), (-10, 1000), (8, 8)])
def test_ranges(ours, theirs, bounds):
    same(ours.get_frames_in_range(*bounds), theirs.get_frames_in_range(*bounds))


@pytest.mark.parametrize("seconds", [0, 0.04, 0.0401, 0.5, 0.9599])
def test_a_frame_by_its_time(ours, theirs, seconds):
    same(ours.get_frame_played_at(seconds), theirs.get_frame_played_at(seconds))


def test_frames_by_their_times(ours, theirs):
    for seconds in ([0.9, 0.1, 0.1], torch.tensor([0.3, 0.7], dtype=torch.float64)):
        same(ours.get_frames_played_at(seconds), theirs.get_frames_played_at(seconds))
    times = ours.get_all_frames().pts_seconds
    assert torch.equal(ours.get_frames_played_at(times).pts_seconds, times)


@pytest.mark.parametrize(
    "bounds", [(0, 0.96), (0.1, 0.3), (0.12, 0.2), (0.5, 0.5), (0.2, 0.9, 10), (0, 0.96, 60), (0.31, 0.33, 25)]
)
def test_ranges_of_time(ours, theirs, bounds):
    same(ours.get_frames_played_in_range(*bounds), theirs.get_frames_played_in_range(*bounds))


@pytest.mark.parametrize("fps", [None, 12.5, 25, 40])
def test_all_frames(ours, theirs, fps):
    same(ours.get_all_frames(fps), theirs.get_all_frames(fps))


def test_what_is_beyond_the_ends_is_an_error_to_both(ours, theirs):
    for decoder in (ours, theirs):
        for index in (24, -25):
            with pytest.raises(IndexError):
                decoder.get_frame_at(index)
            with pytest.raises((IndexError, RuntimeError)):
                decoder.get_frames_at([index])
        for seconds in (-0.01, 0.96, float("nan")):
            with pytest.raises(IndexError):
                decoder.get_frame_played_at(seconds)
        for bounds in ((0.5, 0.4), (-1, 0.5), (0.5, 2), (0.96, 0.96)):
            with pytest.raises((ValueError, UsageError)):
                decoder.get_frames_played_in_range(*bounds)


def test_metadata(ours, theirs):
    for name in ("num_frames", "width", "height", "average_fps", "duration_seconds"):
        assert getattr(ours.metadata, name) == pytest.approx(getattr(theirs.metadata, name)), name
    for name in ("begin_stream_seconds", "end_stream_seconds"):
        assert getattr(ours.metadata, name) == pytest.approx(getattr(theirs.metadata, name)), name
    assert (ours.metadata.codec, theirs.metadata.codec) == ("palette", "h264")
    assert ours.metadata.bit_rate == pytest.approx(ours.metadata.bytes * 8 / 0.96)
    assert len(ours) == len(theirs)


@pytest.mark.parametrize(
    ("sampler", "options"),
    [
        (samplers.clips_at_random_indices, {"num_clips": 5, "num_indices_between_frames": 2}),
        (samplers.clips_at_regular_indices, {"num_clips": 4}),
        (samplers.clips_at_random_timestamps, {"num_clips": 5, "seconds_between_frames": 0.1}),
        (samplers.clips_at_regular_timestamps, {"seconds_between_clip_starts": 0.21}),
    ],
)
@pytest.mark.parametrize("policy", ["repeat_last", "wrap"])
def test_samplers(ours, theirs, sampler, options, policy):
    found = []
    for decoder in (ours, theirs):
        torch.manual_seed(7)
        late = {"sampling_range_end": 24 if "indices" in sampler.__name__ else 0.96}  # so that clips go beyond the end
        found.append(sampler(decoder, num_frames_per_clip=4, policy=policy, **options, **late))
    assert found[0].data.shape[1:] == (4, 3, 32, 48)
    same(*found)


def test_samplers_take_channels_last_too(screens_pac, screens):
    theirs = Theirs(str(screens), dimension_order="NHWC")
    with pacodec.open(screens_pac, as_torch=True) as ours:
        wanted = {"num_clips": 3, "num_frames_per_clip": 2}
        same(samplers.clips_at_regular_indices(ours, **wanted), samplers.clips_at_regular_indices(theirs, **wanted))


def test_numpy_is_what_comes_without_a_word(screens_pac):
    with pacodec.open(screens_pac) as video:
        frame = video.get_frame_at(3)
        assert isinstance(frame.data, np.ndarray)
        np.testing.assert_array_equal(frame.data, screen(3))
        data, pts, duration = frame
        assert (data.shape, pts, duration) == ((32, 48, 3), pytest.approx(0.12), pytest.approx(0.04))
        batch = video.get_frames_at([4, 2])
        assert len(batch) == 2
        np.testing.assert_array_equal([part.data for part in batch], [screen(4), screen(2)])
        np.testing.assert_allclose(batch[1:].pts_seconds, [0.08])
        assert "0.12" in repr(frame)
        assert "(2, 32, 48, 3)" in repr(batch)
    with pacodec.open(screens_pac, dimension_order="NCHW") as video:
        np.testing.assert_array_equal(video[5], screen(5).transpose(2, 0, 1))
        assert video.get_all_frames().data.shape == (FRAMES, 3, 32, 48)
        np.testing.assert_array_equal(video[3:5], [screen(n).transpose(2, 0, 1) for n in (3, 4)])
        np.testing.assert_array_equal(next(video.frames_between(0.2, 0.3)), screen(5).transpose(2, 0, 1))


def test_an_unknown_order_of_dimensions(screens_pac):
    with pytest.raises(UsageError, match="CHWN"):
        pacodec.open(screens_pac, dimension_order="CHWN")
