"""The decoder as a sequence: at random or in order, from threads and forks, and what it says of the file."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import make_clip
from conftest import make_video, screen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pacodec
from pacodec.container import Reader
from pacodec.errors import PacodecError, UsageError
from pacodec.models.library import MODEL_FOLDER_VARIABLE

FRAMES = 24
SLICES = st.tuples(*[st.none() | st.integers(-30, 30)] * 2, st.none() | st.integers(-9, 9).filter(bool))
ANY = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def video(screens_pac):
    with pacodec.open(screens_pac) as opened:
        yield opened


@pytest.fixture(scope="module")
def conv5_pac(screens, zoo):
    target = screens.with_name("conv5.pac")
    pacodec.encode(str(screens), str(target), model=str(zoo / "conv5.pacmodel"), embed_model=True, gop_seconds=0.4)
    return target


# --- a sequence ---


def test_length_and_items(video):
    assert len(video) == FRAMES
    for i in (0, 7, 23, -1, -24, np.int64(5)):
        assert video[i].dtype == np.uint8
        np.testing.assert_array_equal(video[i], screen(int(i) % FRAMES))
    for i in (24, -25, 10**9):
        with pytest.raises(IndexError, match=str(i)):
            video[i]
        with pytest.raises(IndexError):
            video.codes(i)
    assert video[30:] == []


@ANY
@given(SLICES)
def test_slices_are_those_of_a_list(video, bounds):
    np.testing.assert_array_equal(video[slice(*bounds)], [screen(n) for n in range(FRAMES)][slice(*bounds)])


@ANY
@given(st.lists(st.integers(-FRAMES, FRAMES - 1), max_size=6))
def test_any_order_gives_the_same_pictures(video, order):
    for i in order:
        np.testing.assert_array_equal(video[i], screen(i % FRAMES))


def test_iteration_and_what_sequences_have(video):
    np.testing.assert_array_equal(list(video), [screen(n) for n in range(FRAMES)])
    np.testing.assert_array_equal(next(reversed(video)), screen(FRAMES - 1))


def test_a_step_back_through_a_long_gop_is_not_quadratic(tmp_path):
    make_video(tmp_path / "in.mp4", [screen(n, 16, 16) for n in range(120)])
    pacodec.encode(str(tmp_path / "in.mp4"), str(tmp_path / "a.pac"))
    with pacodec.open(tmp_path / "a.pac") as video:
        began = time.process_time()
        forwards = video[::2]
        middle = time.process_time()
        backwards = video[118::-2]
        assert time.process_time() - middle < 5 * (middle - began) + 0.2
    np.testing.assert_array_equal(backwards, forwards[::-1])


def test_random_access_through_a_network_equals_running_through(conv5_pac):
    with pacodec.open(conv5_pac) as video:
        in_order = video[:]
        for i in np.random.default_rng(0).permutation(FRAMES)[:12]:
            assert np.abs(video[int(i)].astype(int) - in_order[i]).max() <= 1  # another batch, another rounding
            assert video.codes(int(i)).shape == video.metadata.grid


def test_codes_are_copies_that_belong_to_the_caller(video):
    first = video.codes(3)
    assert (first.dtype, first.shape) == (np.uint8, (1, 32, 48))
    first[:] = 0
    assert video.codes(3).any()
    video[4][:] = 0
    np.testing.assert_array_equal(video[4], screen(4))


@ANY
@given(SLICES)
def test_batches_are_slices(video, bounds):
    start, stop, _ = bounds
    batches = list(video.batches(start or 0, stop))
    assert all(len(batch) for batch in batches)
    pictures = [picture for batch in batches for picture in batch]
    np.testing.assert_array_equal(pictures, [screen(n) for n in range(FRAMES)][start or 0 : stop])


# --- time ---


def test_times_are_those_of_the_source(tmp_path):
    times = [100, 512, 600, 2000, 2040, 9000]
    make_clip(tmp_path / "in.mkv", width=16, height=16, times=times)
    pacodec.encode(str(tmp_path / "in.mkv"), str(tmp_path / "a.pac"), gop_seconds=0.1, quality=1)
    with pacodec.open(tmp_path / "a.pac") as video:
        np.testing.assert_allclose(video.times(), np.round(np.array(times) / 12.8) / 1000)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, 0.04, range(1)),
        (0.12, 0.28, range(3, 7)),
        (0.13, 0.29, range(3, 8)),
        (-5, 0.1, range(3)),
        (0.9, 99, range(22, 24)),
        (0.95, 0.951, range(23, 24)),
        (0.96, 99, range(0)),
        (0.5, 0.5, range(0)),
        (-2, -1, range(0)),
    ],
)
def test_frames_between_times(video, start, end, expected):
    found = list(video.frames_between(start, end))
    np.testing.assert_array_equal(found, [screen(n) for n in expected])


def test_every_frames_own_time_finds_it(video):
    times = [*video.times(), 0.96]
    for i in range(FRAMES):
        (found,) = video.frames_between(times[i], times[i + 1])
        np.testing.assert_array_equal(found, screen(i))


@pytest.mark.parametrize(("start", "end"), [(1, 0), (float("nan"), 1), (0, float("nan")), (0, float("inf"))])
def test_ranges_of_time_that_are_none(video, start, end):
    with pytest.raises(UsageError):
        list(video.frames_between(start, end))


# --- what it says of itself ---


def test_metadata(screens, screens_pac, video):
    found = video.metadata
    assert found == pacodec.info(screens_pac)
    assert (found.frames, found.width, found.height, found.fps, found.gops) == (FRAMES, 48, 32, 25, 3)
    assert found.duration == pytest.approx(0.96)
    assert (found.transform, found.model, found.grid) == ("palette", None, (1, 32, 48))
    assert sum(found.coders.values()) == found.gops
    assert found.bytes == sum(found.sizes.values()) == screens_pac.stat().st_size
    assert found.source_bytes == screens.stat().st_size
    assert found.raw_bytes == FRAMES * 48 * 32 * 3
    assert found.ratio == found.raw_bytes / found.bytes
    assert found.bitrate_kbps == pytest.approx(found.bytes * 8 / 1000 / 0.96)
    assert (found.truncated, found.damage, video.damage) == (False, (), [])


def test_with_closes_the_file(screens_pac):
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pacodec.open(screens_pac) as video:
        assert len(list(Path("/proc/self/fd").iterdir())) > before
        assert len(video) == FRAMES
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    video.close()


def test_paths_may_be_text_or_path(screens_pac):
    for path in (screens_pac, str(screens_pac)):
        with pacodec.open(path) as video:
            assert len(video) == FRAMES
        assert pacodec.verify(path) == []


def test_of_a_file_cut_short_the_whole_gops_are_there(screens_pac, tmp_path):
    with Reader(screens_pac) as whole:
        end = whole.gops[2].offset + 10
    (tmp_path / "cut.pac").write_bytes(screens_pac.read_bytes()[:end])
    with pacodec.open(tmp_path / "cut.pac") as video:
        assert (len(video), video.metadata.truncated) == (20, True)
        assert video.damage
        np.testing.assert_array_equal(video[:], [screen(n) for n in range(20)])
        np.testing.assert_array_equal(video[-1], screen(19))


def test_names_of_the_package():
    assert set(pacodec.__all__) <= {*dir(pacodec), *pacodec._HOMES}
    for name in pacodec.__all__:
        assert getattr(pacodec, name).__doc__
    with pytest.raises(AttributeError, match="nothing"):
        pacodec.nothing  # noqa: B018


def test_progress_goes_to_the_end(screens, tmp_path):
    calls: list[tuple[int, int | None]] = []
    report: Callable[[int, int | None], None] = lambda done, total: calls.append((done, total))  # noqa: E731
    pacodec.encode(str(screens), str(tmp_path / "a.pac"), gop_seconds=0.4, progress=report)
    assert all(total == FRAMES for _, total in calls)
    calls.clear()
    pacodec.decode(str(tmp_path / "a.pac"), str(tmp_path / "a.mp4"), progress=report)
    assert calls[-1] == (FRAMES, FRAMES)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)


# --- threads and forks ---


@pytest.mark.parametrize("name", ["screens_pac", "conv5_pac"])
def test_many_threads_share_one_decoder(name, request):
    with pacodec.open(request.getfixturevalue(name), jobs=2) as video:
        expected = video[:]
        wrong: list[Any] = []

        def look(seed):
            try:
                for i in np.random.default_rng(seed).integers(0, FRAMES, 8):
                    if np.abs(video[int(i)].astype(int) - expected[i]).max() > 1:
                        wrong.append(i)
                if np.abs(np.array(video[5:15]).astype(int) - expected[5:15]).max() > 1:
                    wrong.append("range")
            except Exception as error:
                wrong.append(error)

        threads = [threading.Thread(target=look, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def in_child(look: Callable[[], bool], seconds: float = 30) -> int:
    """Exit status of a fork that runs `look`: 0 where it is true; killed when it hangs."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if look() else 2
        finally:
            os._exit(code)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -1


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("name", ["screens_pac", "conv5_pac"])
def test_a_fork_decodes_on_its_own(name, used, request):
    path = request.getfixturevalue(name)
    with pacodec.open(path) as other:
        expected = other[:]
    with pacodec.open(path, jobs=2) as video:
        if used:
            video[12], video[3:20]

        def look():
            near = np.abs(video[13].astype(int) - expected[13]).max() <= 1
            return near and np.abs(np.array(video[:]).astype(int) - expected).max() <= 1

        assert in_child(look) == 0
        assert in_child(look) == 0
        assert look()


def test_a_fork_while_another_thread_decodes(screens_pac):
    with pacodec.open(screens_pac) as video:
        stop = threading.Event()

        def busy():
            while not stop.is_set():
                video[9], video[0]

        thread = threading.Thread(target=busy)
        thread.start()
        try:
            for _ in range(5):
                assert in_child(lambda: np.array_equal(video[11], screen(11))) == 0
        finally:
            stop.set()
            thread.join()


def test_encode_and_decode_in_a_fork(screens, tmp_path):
    target = tmp_path / "a.pac"

    def work():
        pacodec.encode(str(screens), str(target), jobs=2)
        return pacodec.decode(str(target), str(tmp_path / "a.mp4"), jobs=2).frames == FRAMES

    assert in_child(work) == 0


# --- train, and use what was trained ---


def test_train_then_encode_with_it_in_one_process(tmp_path, monkeypatch):
    clips = []
    for part in range(3):
        clips.append(str(make_video(tmp_path / f"{part}.mp4", [screen(part * 8 + n, 32, 32) for n in range(8)])))
    monkeypatch.setenv(MODEL_FOLDER_VARIABLE, str(tmp_path))
    report = pacodec.train(clips, str(tmp_path / "mine.pacmodel"), arch="conv4", steps=3, device="cpu")
    assert (report.arch, report.steps, report.test_frames) == ("conv4", 3, 4)  # half of the last clip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.mp4", "1.mp4", "2.mp4", "mine.pacmodel"]
    encoded = pacodec.encode(clips[0], str(tmp_path / "a.pac"), model="mine")
    assert encoded.model == "mine"
    assert encoded.psnr > 5
    with pacodec.open(tmp_path / "a.pac") as video:
        assert video[-1].shape == (32, 32, 3)


def test_every_error_is_one_of_ours(tmp_path):
    for call in (
        lambda: pacodec.open(tmp_path / "none.pac"),
        lambda: pacodec.info(tmp_path / "none.pac"),
        lambda: pacodec.verify(tmp_path / "none.pac"),
        lambda: pacodec.encode("none.mp4", str(tmp_path / "a.pac")),
        lambda: pacodec.decode("none.pac", str(tmp_path / "a.mp4")),
        lambda: pacodec.train(["none.mp4"], str(tmp_path / "a.pacmodel")),
    ):
        with pytest.raises(PacodecError, match="none") as caught:
            call()
        assert caught.value.exit_code == 1
    assert not list(Path(tmp_path).iterdir())
