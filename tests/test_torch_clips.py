"""Data sets of clips for torch: which clips there are, their order, workers, and what these share."""

import pickle
import shutil

import numpy as np
import pytest
import torch
from conftest import make_video, screen
from torch.utils.data import DataLoader

import pacodec
from pacodec.errors import CorruptFileError, FileAccessError, UsageError
from pacodec.integrations.torch import ClipDataset, ClipStream

LENGTHS = {"a.pac": 24, "deep/b.pac": 13, "deep/c.pac": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three recordings, whose pictures are all different."""
    where = tmp_path_factory.mktemp("recordings")
    (where / "deep").mkdir()
    (where / "notes.txt").write_text("no recording")
    first = 0
    for name, frames in LENGTHS.items():
        make_video(where / "in.mp4", [screen(first + n) for n in range(frames)])
        pacodec.encode(str(where / "in.mp4"), str(where / name), gop_seconds=0.4)
        (where / "in.mp4").unlink()
        first += frames
    return where


def pictures(first, frames=4, stride=1):
    return np.stack([screen(first + n * stride) for n in range(frames)]).transpose(0, 3, 1, 2)


def names(clips):
    """What tells clips apart, in their order."""
    return [clip.numpy().tobytes() for clip in clips]


def test_clips_follow_one_another(folder):
    clips = ClipDataset(folder, 4)
    starts = [0, 4, 8, 12, 16, 20, 24, 28, 32]  # of the shortest file there is none
    assert len(clips) == len(starts)
    for index, first in enumerate(starts):
        assert clips[index].dtype == torch.uint8
        np.testing.assert_array_equal(clips[index], pictures(first))
    np.testing.assert_array_equal(clips[-1], pictures(32))
    for index in (9, -10):
        with pytest.raises(IndexError, match=str(index)):
            clips[index]


def test_strides_and_steps(folder):
    clips = ClipDataset(folder / "a.pac", 3, stride=5, step=2)
    assert len(clips) == 7
    np.testing.assert_array_equal(clips[6], pictures(12, 3, 5))
    assert len(ClipDataset([folder / "a.pac", folder / "deep" / "c.pac"], 3)) == 9


def test_codes_and_layouts(folder):
    with pacodec.open(folder / "a.pac") as video:
        expected = np.stack([video.codes(n) for n in range(4, 8)])
    clip = ClipDataset(folder, 4, codes=True)[1]
    assert clip.dtype == torch.uint8
    np.testing.assert_array_equal(clip, expected)
    assert ClipDataset(folder, 4, dimension_order="NHWC")[1].shape == (4, 32, 48, 3)
    assert ClipDataset(folder, 4, transform=lambda clip: clip.float().mean())[1].ndim == 0


@pytest.mark.parametrize("mixed", [1, 3, 100])
def test_a_stream_gives_each_clip_once(folder, mixed):
    everything = sorted(names(ClipDataset(folder, 4, step=1)))
    stream = ClipStream(folder, 4, step=1, mixed=mixed)
    assert len(stream) == len(everything)
    assert sorted(names(stream)) == everything


def test_the_order_of_a_stream(folder):
    stream = ClipStream(folder, 4, seed=5)
    first = names(stream)
    assert names(stream) == first
    assert names(ClipStream(folder, 4, seed=5)) == first
    assert names(ClipStream(folder, 4, seed=6)) != first
    stream.set_epoch(1)
    assert names(stream) != first
    stream.set_epoch(0)
    assert names(stream) == first
    assert names(ClipStream(folder, 4, seed=None)) == names(ClipDataset(folder, 4))


def test_little_memory_changes_nothing(folder):
    assert names(ClipStream(folder, 4, cache_bytes=1)) == names(ClipStream(folder, 4))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_share_the_clips_among_them(folder, method):
    stream = ClipStream(folder, 4, step=1)
    loader = DataLoader(
        stream, batch_size=None, num_workers=2, multiprocessing_context=method, persistent_workers=True, timeout=60
    )
    first = names(loader)
    assert sorted(first) == sorted(names(stream))
    stream.set_epoch(3)
    again = names(loader)
    assert again != first
    assert sorted(again) == sorted(first)


def test_shuffled_by_torch_in_workers(folder):
    generator = torch.Generator().manual_seed(3)
    clips = ClipDataset(folder, 4, step=1)
    loader = DataLoader(clips, batch_size=5, shuffle=True, num_workers=2, generator=generator, timeout=60)
    batches = list(loader)
    assert batches[0].shape == (5, 4, 3, 32, 48)
    found = names(clip for batch in batches for clip in batch)
    assert sorted(found) == sorted(names(clips))
    assert found != names(clips)


def test_a_pickled_one_is_the_same(folder):
    clips = ClipDataset(folder, 4)
    clips[0]
    assert names(pickle.loads(pickle.dumps(clips))) == names(clips)


def test_workers_use_the_model_that_was_loaded_before_they_were_forked(folder, tmp_path):
    model = tmp_path / "mine.pacmodel"
    for name in ("1.mp4", "2.mp4", "3.mp4"):
        make_video(tmp_path / name, [screen(n) for n in range(40)])
    pacodec.train([str(tmp_path / name) for name in ("1.mp4", "2.mp4", "3.mp4")], str(model))
    pacodec.encode(str(tmp_path / "1.mp4"), str(tmp_path / "a.pac"), model=str(model))
    assert pacodec.info(tmp_path / "a.pac").model == "mine"
    clips = ClipStream(tmp_path, 8, model=str(model))
    model.unlink()
    loader = DataLoader(clips, batch_size=None, num_workers=2, multiprocessing_context="fork", timeout=60)
    assert sorted(names(loader)) == sorted(pictures(8 * n, 8).tobytes() for n in range(5))


def test_what_there_cannot_be(folder, tmp_path):
    for call in (
        lambda: ClipDataset(folder, 0),
        lambda: ClipDataset(folder, 4, stride=0),
        lambda: ClipDataset(folder, 4, dimension_order="CHWN"),
        lambda: ClipStream(folder, 4, mixed=0),
    ):
        with pytest.raises(UsageError):
            call()
    with pytest.raises(UsageError, match="40 frames"):
        ClipDataset(folder, 40)
    for nothing in (tmp_path, [], tmp_path / "none.pac"):
        with pytest.raises(FileAccessError):
            ClipDataset(nothing, 4)
    shutil.copy(folder / "notes.txt", tmp_path / "notes.pac")
    with pytest.raises(CorruptFileError, match=r"notes\.pac"):
        ClipDataset(tmp_path, 4)


def test_pictures_of_packets_are_mixed_as_they_are(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), np.uint8)
    make_video(tmp_path / "in.mp4", list(np.sort(noise, axis=1)))
    pacodec.encode(str(tmp_path / "in.mp4"), str(tmp_path / "a.pac"), gop_seconds=0.2)
    assert pacodec.info(tmp_path / "a.pac").transform == "picture"
    found = names(ClipStream(tmp_path, 4))
    assert sorted(found) == sorted(names(ClipDataset(tmp_path, 4)))
