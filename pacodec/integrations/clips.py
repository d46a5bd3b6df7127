"""Which clips there are in .pac files, and reading any of them."""

import bisect
import operator
import os
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacodec.common.locks import ForkSafeLock
from pacodec.decoder import Decoder
from pacodec.errors import FileAccessError, UsageError
from pacodec.gop.grid_transforms import COLOUR_TRANSFORMS
from pacodec.gop.random_access import KEPT_BYTES, DecodedCache

OPEN_FILES = 4
"""Files that are kept open; one whose GOPs begin from a reference of its own has 64 MiB or more of it."""
PREPARED = 4
"""Models that are loaded from the start."""

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


@dataclass(frozen=True)
class ClipShape:
    """Clips of `frames` frames, every `stride`-th of the video; a new one begins every `step` frames.

    UsageError for numbers under 1.
    """

    frames: int
    stride: int
    step: int

    def __post_init__(self) -> None:
        if min(self.frames, self.stride, self.step) < 1:
            raise UsageError("a clip has at least one frame, and a stride and a step of at least 1")

    @property
    def span(self) -> int:
        """Frames of the video from a clip's first to its last one."""
        return (self.frames - 1) * self.stride + 1

    def count(self, frames: int) -> int:
        """Clips of a video of so many frames."""
        return max(0, 1 + (frames - self.span) // self.step)


@dataclass(frozen=True)
class VideoFile:
    """What is known of a file."""

    path: Path
    frames: int
    gop_ends: tuple[int, ...]
    """How many frames there are up to the end of each GOP."""
    packed: bool
    """Whether its codes take little memory where they are kept."""
    model: str | None
    """sha256 of its model."""


def pac_files(paths: Paths) -> list[Path]:
    """The files, and those of folders and all that is in them, sorted; FileAccessError where there are none."""
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    found: list[Path] = []
    for path in map(Path, given):
        found += sorted(path.rglob("*.pac")) if path.is_dir() else [path]
    if not found:
        raise FileAccessError(f"{', '.join(map(str, given)) or 'nothing'}: there is no .pac file")
    return found


class Clips(Sequence[NDArray[np.uint8]]):
    """All clips of some files, by number: uint8 [frames, H, W, 3], or codes [frames, C, h, w].

    Files are opened when needed. What was decoded is kept in bounded memory, which all files share. May be used by
    several threads, after a fork, and be pickled.

    Raises UsageError where there is no clip at all, and what `pacodec.open` raises.
    """

    def __init__(
        self,
        paths: Paths,
        shape: ClipShape,
        *,
        codes: bool = False,
        model: str | None = None,
        cache_bytes: int = KEPT_BYTES,
    ) -> None:
        self.shape, self._codes, self._model, self._cache_bytes = shape, codes, model, cache_bytes
        self._begin()
        self.files = [self._looked_at(path) for path in pac_files(paths)]
        self._starts = [0, *accumulate(shape.count(file.frames) for file in self.files)]
        if not len(self):
            raise UsageError(f"{self.files[0].path}: no file has a clip of {shape.span} frames")

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, index: Any) -> Any:
        return self._read(index, codes=self._codes)

    def decode(self, index: int) -> None:
        """Decode a clip's codes, which then are kept."""
        self._read(index, codes=True)

    def is_packed(self, index: int) -> bool:
        """Whether a clip's codes take little memory where they are kept."""
        return self.files[self._place(index)[0]].packed

    def by_gop(self) -> list[range]:
        """The clips in groups of those that begin in the same GOP."""
        groups = []
        for file, start, end in zip(self.files, self._starts, self._starts[1:], strict=False):
            cuts = [min(end, start - (-gop_end // self.shape.step)) for gop_end in file.gop_ends]
            groups += [range(first, last) for first, last in zip([start, *cuts], cuts, strict=False) if first < last]
        return groups

    def __getstate__(self) -> dict[str, Any]:
        hidden = ("_opened", "_prepared", "_cache", "_lock")
        return {name: value for name, value in vars(self).items() if name not in hidden}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._begin()

    def _begin(self) -> None:
        self._opened: OrderedDict[Path, Decoder] = OrderedDict()
        self._prepared: dict[str | None, Decoder] = {}
        self._cache = DecodedCache(self._cache_bytes)
        self._lock = ForkSafeLock()

    def _looked_at(self, path: Path) -> VideoFile:
        """What is to be known of a file; its model is loaded, so that processes that are forked later share it."""
        video = Decoder(path, model=self._model, cache=self._cache)
        metadata = video.metadata
        kind = metadata.model_sha256
        if kind not in self._prepared and len(self._prepared) < PREPARED:
            video.prepare()
            self._prepared[kind] = video
        else:
            video.close()
        ends = (*video.keyframes[1:], len(video)) if len(video) else ()
        return VideoFile(path.absolute(), len(video), ends, metadata.transform in COLOUR_TRANSFORMS, kind)

    def _place(self, index: int) -> tuple[int, int]:
        """The file of a clip, and its first frame there; IndexError beyond the ends."""
        place = operator.index(index)
        if not -len(self) <= place < len(self):
            raise IndexError(f"clip {place} of {len(self)}")
        place %= len(self)
        number = bisect.bisect_right(self._starts, place) - 1
        return number, (place - self._starts[number]) * self.shape.step

    def _read(self, index: int, *, codes: bool) -> NDArray[np.uint8]:
        number, first = self._place(index)
        frames = range(first, first + self.shape.span, self.shape.stride)
        with self._lock:
            video = self._open(self.files[number])
            clip: NDArray[np.uint8] = video.codes_at(frames) if codes else video.get_frames_at(frames).data
        return clip

    def _open(self, file: VideoFile) -> Decoder:
        video = self._opened.pop(file.path, None)
        if video is None:
            like = self._prepared.get(file.model)
            video = Decoder(file.path, model=self._model, cache=self._cache, like=like)
        self._opened[file.path] = video
        if len(self._opened) > OPEN_FILES:
            self._opened.popitem(last=False)[1].close()
        return video
