"""Data sets of clips out of .pac files, for torch's `DataLoader`.

from torch.utils.data import DataLoader
from pacodec.integrations.torch import ClipStream

clips = ClipStream("recordings/", frames=16, seed=1)
for batch in DataLoader(clips, batch_size=8, num_workers=2):  # uint8 [8, 16, 3, H, W]
    ...
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from pacodec import limits
from pacodec.common.frames import DimensionOrder, FrameLayout
from pacodec.errors import UsageError
from pacodec.gop.random_access import KEPT_BYTES
from pacodec.integrations.clips import Clips, ClipShape, Paths

HELD_BYTES = 64 * limits.MIB
"""Clips that are mixed with later ones as they are, where their codes cannot be kept packed."""


class ClipDataset(Dataset[Any]):
    """Clips by number: uint8 [frames, 3, H, W], or their codes uint8 [frames, C, h, w].

    The first visit to a GOP decodes it, further ones do not, as long as it is kept in memory: `ClipStream` is quicker
    where each clip is wanted once. Processes that are forked, as `DataLoader` does, share the models.

    Args:
        paths: files, or folders that are searched for .pac files.
        frames: of a clip.
        stride: every so many frames of the video one is taken.
        step: so many frames after a clip begins the next one, by default where it ends.
        codes: whether codes are given in place of pictures.
        dimension_order: of pictures: NCHW, or NHWC for [frames, H, W, 3].
        transform: what is done with each clip.
        model: name or path of the model that the files name, where it is not installed.
        cache_bytes: of packed codes that are kept in each process.

    Raises UsageError for numbers that are none, FileAccessError where there is no file, and what `pacodec.open` raises.
    """

    def __init__(
        self,
        paths: Paths,
        frames: int = 16,
        *,
        stride: int = 1,
        step: int | None = None,
        codes: bool = False,
        dimension_order: DimensionOrder = "NCHW",
        transform: Callable[[torch.Tensor], Any] | None = None,
        model: str | None = None,
        cache_bytes: int = KEPT_BYTES,
    ) -> None:
        self._layout = FrameLayout(dimension_order, as_torch=True)
        shape = ClipShape(frames, stride, frames * stride if step is None else step)
        self.clips = Clips(paths, shape, codes=codes, model=model, cache_bytes=cache_bytes)
        """The same as numpy arrays, channels last."""
        self._codes, self._transform = codes, transform

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> Any:
        return self.finish(self.clips[index])

    def finish(self, clip: NDArray[np.uint8]) -> Any:
        """What is given for a clip of `clips`."""
        tensor = torch.from_numpy(clip) if self._codes else self._layout.pictures(clip)
        return tensor if self._transform is None else self._transform(tensor)


class ClipStream(IterableDataset[Any]):
    """All clips of a `ClipDataset` once, in the order in which they are decoded at full speed, mixed as they come.

    GOPs come in a random order, and of the clips that are decoded one of `mixed` is drawn each time. Each worker of a
    `DataLoader` has GOPs of its own, so that nothing is decoded twice, and the same ones in each epoch: with
    `persistent_workers` the second epoch finds what the first one decoded. The order depends on the seed, the epoch
    and the number of workers alone.
    """

    def __init__(
        self, paths: Paths, frames: int = 16, *, seed: int | None = 0, mixed: int = 1024, **options: Any
    ) -> None:
        """`seed` None leaves all clips in their order; `options` are the others of `ClipDataset`.

        UsageError where fewer than one clip shall be mixed.
        """
        if mixed < 1:
            raise UsageError(f"of {mixed} clips none can be drawn")
        self.dataset = ClipDataset(paths, frames, **options)
        """The clips by number."""
        self._seed, self._mixed = seed, mixed
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]  # workers that live on see it

    def __len__(self) -> int:
        return len(self.dataset)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass, as with `DistributedSampler`; without it, each has the same."""
        self._epoch.fill_(epoch)

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        number, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        groups = _shares(self.dataset.clips.by_gop(), workers)[number]
        if self._seed is None:
            return (self.dataset[index] for group in groups for index in group)
        return self._drawn(groups, np.random.default_rng([self._seed, int(self._epoch), number]))

    def _drawn(self, groups: list[range], random: np.random.Generator) -> Iterator[Any]:
        """Clips drawn from those that were decoded and wait, by number or, where nothing keeps them, as they are."""
        clips = self.dataset.clips
        waiting: list[Callable[[], Any]] = []
        for group in random.permutation(len(groups)):
            for index in groups[group]:
                room = self._mixed
                if clips.is_packed(index):
                    clips.decode(index)
                    waiting.append(partial(self.dataset.__getitem__, index))
                else:
                    clip = clips[index]
                    waiting.append(partial(self.dataset.finish, clip))
                    room = min(room, HELD_BYTES // clip.nbytes)
                while len(waiting) >= max(room, 1):
                    yield _draw(waiting, random)
        while waiting:
            yield _draw(waiting, random)


def _draw(waiting: list[Callable[[], Any]], random: np.random.Generator) -> Any:
    """One of the clips, which then waits no longer."""
    place = int(random.integers(len(waiting)))
    waiting[place], waiting[-1] = waiting[-1], waiting[place]
    return waiting.pop()()


def _shares(groups: list[range], workers: int) -> list[list[range]]:
    """The groups of each worker, in their order, so that each has about as many clips."""
    shares: list[list[int]] = [[] for _ in range(workers)]
    loads = [0] * workers
    for number in sorted(range(len(groups)), key=lambda number: -len(groups[number])):
        least = loads.index(min(loads))
        shares[least].append(number)
        loads[least] += len(groups[number])
    return [[groups[number] for number in sorted(share)] for share in shares]
