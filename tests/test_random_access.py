"""Any frames in any order: from threads, forked and spawned processes, and in little memory."""

import multiprocessing
import os
import pickle
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from clips import make_clip
from conftest import make_video, screen

import pacodec
from pacodec.gop.random_access import BoundedCache, DecodedCache

FRAMES = 24


@pytest.fixture(scope="module")
def packets_pac(tmp_path_factory):
    """A file of a standard codec's packets, whose decoder has threads of its own."""
    folder = tmp_path_factory.mktemp("packets")
    make_clip(folder / "in.mp4", frames=30)
    report = pacodec.encode(str(folder / "in.mp4"), str(folder / "a.pac"), gop_seconds=0.4)
    assert set(report.coders) <= {"av1", "h264", "source"}
    return folder / "a.pac"


@pytest.fixture(params=["screens_pac", "packets_pac"])
def path(request):
    return request.getfixturevalue(request.param)


def everything(path):
    with pacodec.open(path) as video:
        return np.stack(video[:])


def check(video, expected, seed):
    """Whether frames and batches in some random order are as expected."""
    random = np.random.default_rng(seed)
    for index in random.integers(-len(expected), len(expected), 6):
        np.testing.assert_array_equal(video[int(index)], expected[index])
    wanted = random.integers(0, len(expected), 9)
    np.testing.assert_array_equal(video.get_frames_at(wanted).data, expected[wanted])


def check_pickled(pickled, expected):
    video = pickle.loads(pickled)
    check(video, expected, 3)


def check_forked(video, expected):
    """Check in a forked child, which must not hang."""
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        code = 1
        try:
            check(video, expected, 4)
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("jobs", [1, 3])
def test_any_order(path, jobs):
    expected = everything(path)
    with pacodec.open(path, jobs=jobs) as video:
        for seed in range(4):
            check(video, expected, seed)


def test_repeats_count_as_frames(tmp_path):
    pictures = [screen(n // 4, 32, 32) for n in range(24)]
    make_video(tmp_path / "in.mp4", pictures)
    pacodec.encode(str(tmp_path / "in.mp4"), str(tmp_path / "a.pac"))
    with pacodec.open(tmp_path / "a.pac") as video:
        check(video, np.stack(pictures), 1)
        codes = video.codes_at([9, 8, 23, 0])
        np.testing.assert_array_equal(codes[0], codes[1])
        np.testing.assert_array_equal(codes[3], video.codes(0))


def test_next_to_no_memory_gives_the_same(path):
    expected = everything(path)
    with pacodec.open(path, cache=DecodedCache(1)) as video:
        check(video, expected, 2)


def test_files_may_share_memory(screens_pac, packets_pac):
    cache = DecodedCache(1 << 20)
    with pacodec.open(screens_pac, cache=cache) as first, pacodec.open(packets_pac, cache=cache) as second:
        expected = everything(screens_pac), everything(packets_pac)
        for seed in range(3):
            check(first, expected[0], seed)
            check(second, expected[1], seed)


def test_the_least_used_goes_first():
    cache = BoundedCache[str, int](10)
    for name, size in (("a", 4), ("b", 4), ("a", 4)):
        cache.put(name, size, size)
    assert cache.get("b") == 4
    cache.put("c", 5, 5)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (None, 4, 5)
    cache.put("large", 99, 99)
    assert (cache.get("b"), cache.get("c"), cache.get("large")) == (None, None, 99)
    assert cache.take("large") == 99
    assert "large" not in cache
    assert cache.take("large") is None


def test_the_bytes_of_a_file_serve_as_a_file(screens_pac):
    data = screens_pac.read_bytes()
    with pacodec.open(data) as video:
        check(video, everything(screens_pac), 0)
    check_pickled(pickle.dumps(pacodec.open(data)), everything(screens_pac))
    with pytest.raises(pacodec.PacodecError, match="the data"):
        pacodec.open(data[:9])


def test_a_pickled_decoder_opens_its_file_anew(path, tmp_path, monkeypatch):
    expected = everything(path)
    monkeypatch.chdir(path.parent)
    with pacodec.open(path.name, dimension_order="NCHW") as video:
        video[3]
        pickled = pickle.dumps(video)
    monkeypatch.chdir(tmp_path)
    check_pickled(pickled, expected.transpose(0, 3, 1, 2))


def test_a_spawned_process(screens_pac):
    with pacodec.open(screens_pac) as video:
        video[3]
        context = multiprocessing.get_context("spawn")
        child = context.Process(target=check_pickled, args=(pickle.dumps(video), everything(screens_pac)))
        child.start()
        child.join()
    assert child.exitcode == 0


def test_a_forked_process_goes_on_in_the_middle_of_a_gop(path):
    expected = everything(path)
    with pacodec.open(path, jobs=2) as video:
        video[2], video[13]
        check_forked(video, expected)
        check(video, expected, 5)


def test_forks_while_threads_decode(path):
    expected = everything(path)
    with pacodec.open(path, jobs=2, cache=DecodedCache(1)) as video:
        stop = threading.Event()

        def busy(seed):
            while not stop.is_set():
                check(video, expected, seed)

        with ThreadPoolExecutor(3) as pool:
            threads = [pool.submit(busy, seed) for seed in range(3)]
            try:
                for _ in range(4):
                    check_forked(video, expected)
            finally:
                stop.set()
            for thread in threads:
                thread.result()
