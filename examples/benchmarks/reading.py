"""Measure how quickly recordings are read, frame by frame and as clips, beside torchcodec on the same footage.

    python examples/benchmarks/reading.py CLIP.mp4      (lossless H.264, such as examples/ms_pacman.mp4)

Prints frames/s of wall time, and of one process in brackets those of the processor's time, which other programs on the
machine disturb less. All is measured in one run: a `.pac` of the clip in default GOPs, and the clip itself through
torchcodec, where that can be imported.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset

import pacodec
from pacodec.integrations.torch import ClipDataset, ClipStream

FRAMES = 16
"""Frames of a clip."""
BATCH = 8
"""Clips of a batch."""
WORKERS = 2


class TorchcodecClips(Dataset[Any]):
    """The clips of a video by torchcodec, opened in each worker."""

    def __init__(self, path: str, count: int) -> None:
        self._path, self._count = path, count
        self._decoder: Any = None

    def __len__(self) -> int:
        return self._count // FRAMES

    def __getitem__(self, index: int) -> Any:
        if self._decoder is None:
            from torchcodec.decoders import VideoDecoder

            self._decoder = VideoDecoder(self._path)
        return self._decoder.get_frames_in_range(index * FRAMES, (index + 1) * FRAMES).data


@contextmanager
def measured(what: str, frames: Callable[[], int]) -> Iterator[None]:
    """Print the frames/s of what is done in the block."""
    wall, before = time.perf_counter(), os.times()
    yield
    after = os.times()
    used = sum(after[:4]) - sum(before[:4])
    count = frames()
    print(f"{what:58} {count / (time.perf_counter() - wall):8.0f} ({count / max(used, 0.01):.0f})", flush=True)


def one_by_one(name: str, make: Callable[[], Any]) -> None:
    """In order, and then at random, of what was decoded before and of what was not."""
    random = np.random.default_rng(0)
    video = make()
    count = len(video)
    with measured(f"{name}: all in order", lambda: count):
        for first in range(0, count, FRAMES):
            video.get_frames_in_range(first, min(first + FRAMES, count))
    with measured(f"{name}: [i] at random, after that", lambda: 300):
        for index in random.integers(0, count, 300):
            video.get_frame_at(int(index))
    with measured(f"{name}: 64 sorted, after that", lambda: 640):
        for _ in range(10):
            video.get_frames_at(np.sort(random.integers(0, count, 64)).tolist())
    video = make()
    with measured(f"{name}: [i] at random, from the start", lambda: 300):
        for index in random.integers(0, count, 300):
            video.get_frame_at(int(index))


def epochs(name: str, clips: Any, **options: Any) -> None:
    """Two passes of a `DataLoader` with workers that live on."""
    loader = DataLoader(clips, batch_size=BATCH, num_workers=WORKERS, persistent_workers=True, **options)
    for epoch in ("first", "second"):
        found = [0]
        wall = time.perf_counter()
        for batch in loader:
            found[0] += batch.shape[0] * FRAMES
        speed = found[0] / (time.perf_counter() - wall)
        print(f"{f'{name}, {WORKERS} workers: {epoch} epoch':58} {speed:8.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how quickly recordings are read.")
    parser.add_argument("clip", type=Path, help="a lossless recording, e.g. examples/ms_pacman.mp4")
    clip = str(parser.parse_args().clip)
    try:
        from torchcodec.decoders import VideoDecoder
    except (ImportError, RuntimeError, OSError) as error:
        print(f"without torchcodec: {str(error).splitlines()[0]}", file=sys.stderr)
        VideoDecoder = None  # noqa: N806
    with tempfile.TemporaryDirectory() as folder:
        coded = Path(folder, "clip.pac")
        report = pacodec.encode(clip, str(coded))
        print(
            f"{report.frames} frames; .pac {coded.stat().st_size} bytes, {Path(clip).name} {Path(clip).stat().st_size}"
        )
        one_by_one("pacodec", lambda: pacodec.open(coded))
        if VideoDecoder is not None:
            one_by_one("torchcodec", lambda: VideoDecoder(clip, dimension_order="NHWC"))
        epochs("pacodec ClipStream", ClipStream(coded, FRAMES))
        epochs("pacodec ClipStream of codes", ClipStream(coded, FRAMES, codes=True))
        epochs("pacodec ClipDataset, shuffled", ClipDataset(coded, FRAMES), shuffle=True)
        if VideoDecoder is not None:
            epochs("torchcodec, shuffled", TorchcodecClips(clip, report.frames), shuffle=True)


if __name__ == "__main__":
    main()
