"""An open .pac file by the numbers and times of its frames."""

import bisect
import operator
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacodec import limits
from pacodec.common.files import naming
from pacodec.common.locks import ForkSafeLock
from pacodec.common.media import Grids, Pictures
from pacodec.container import Gop, Reader
from pacodec.gop.coding import BATCH_BYTES, BATCH_FRAMES, batch_frames, decode_gop
from pacodec.gop.grid_transforms import transform_for
from pacodec.gop.pictures import GopPictures, working_memory
from pacodec.gop.priors import Decoders, decoders_of, model_of
from pacodec.gop.random_access import DecodedCache, RandomAccess
from pacodec.models.files import ModelFile
from pacodec.transforms.base import GridTransform


class IndexedVideo:
    """Pictures, codes and times of any frames of a file. Safe to share between threads; works after a fork.

    What it needs beyond the container, a model perhaps, is loaded once, when first asked for. Errors are those of
    `pacodec.decoder.Decoder`.
    """

    def __init__(
        self,
        path: str | Path | bytes,
        model: str | None,
        device: str,
        jobs: int = 1,
        cache: DecodedCache | None = None,
        like: "IndexedVideo | None" = None,
        *,
        keep_costs: bool = False,
    ) -> None:
        """With `keep_costs`, decoders of what the engine coded tell what each grid took."""
        with naming("the data" if isinstance(path, bytes) else path):
            self.reader = Reader(path)
        self._model, self._device, self._jobs, self._keep_costs = model, device, jobs, keep_costs
        self._cache = DecodedCache() if cache is None else cache
        self._key: Hashable = object() if isinstance(path, bytes) else _identity(path)
        self.starts = [0, *accumulate(entry.frames for entry in self.reader.gops)]
        """First frames of the GOPs, and the number of all frames."""
        same = like is not None and like.reader.header.model == self.reader.header.model
        self._like = like if same else None
        self._transform: GridTransform | None = None
        self._decoders: Decoders | None = None
        self._found: tuple[ModelFile | None] | None = None
        self._opened: RandomAccess | None = None
        self._making = ForkSafeLock()

    def __len__(self) -> int:
        return self.starts[-1]

    def batches(self, start: int = 0, stop: int | None = None) -> Iterator[Pictures]:
        """Frames start to stop in order, uint8 [n, H, W, 3] at a time: the fast way through many frames.

        The two count as in a slice: negative ones from the end.
        """
        start, stop, _ = slice(start, stop).indices(len(self))
        if start >= stop:
            return
        first, last = bisect.bisect_right(self.starts, start) - 1, bisect.bisect_left(self.starts, stop)
        position = self.starts[first]
        gops = (self.reader.gop(number) for number in range(first, last))
        header, transform, decoders = self.reader.header, self.transform, self.decoders
        for _, _, pictures in GopPictures(header, transform, decoders, self._jobs, codes=self._codes_of).run(gops):
            wanted = pictures[max(0, start - position) : max(0, stop - position)]
            position += len(pictures)
            if len(wanted):
                yield wanted
            if position >= stop:
                return

    def codes(self, indices: Iterable[int]) -> NDArray[np.uint8]:
        """The latent codes of frames in any order, uint8 [n, C, h, w]; IndexError beyond the ends."""
        places, inverse = self._places(indices)
        spec = self.reader.header.grid
        codes: NDArray[np.uint8] = np.empty((len(places), spec.channels, spec.height, spec.width), np.uint8)

        def fill(number: int, frames: NDArray[np.intp], target: slice) -> None:
            codes[target] = self._access.codes(number, frames)[1]

        self._each_gop(places, fill, working_memory(self.reader.header, self.decoders))
        return codes if inverse is None else codes[inverse]

    def gather(self, indices: Iterable[int]) -> tuple[Pictures, NDArray[np.float64], NDArray[np.float64]]:
        """Frames in any order: pictures uint8 [n, H, W, 3], and from when and how long they are shown, float64 [n]."""
        places, inverse = self._places(indices)
        header, transform = self.reader.header, self.transform
        height, width = header.video.height, header.video.width
        pictures = np.empty((len(places), height, width, 3), np.uint8)
        times = np.empty((2, len(places)))
        step = batch_frames(max(header.grid.size, 3 * width * height))

        def fill(number: int, frames: NDArray[np.intp], target: slice) -> None:
            gop = self._access.gop(number)
            for first in range(0, len(frames), step):
                part = frames[first : first + step]
                gop, codes = self._access.codes(number, part)
                place = target.start + first
                pictures[place : place + len(part)] = transform.decode(codes, gop.transform, gop.quantizer)
            begin, end = self._seconds(gop.pts[frames]), self._seconds(gop.pts[frames + 1])
            times[:, target] = begin, end - begin

        self._each_gop(places, fill, working_memory(header, self.decoders, step))
        if inverse is None:
            return pictures, times[0], times[1]
        return pictures[inverse], times[0, inverse], times[1, inverse]

    @property
    def transform(self) -> GridTransform:
        """What turns codes into pictures, made when first needed."""
        with self._making:
            alike = self._like is not None and _transforms(self._like) == _transforms(self)
            if self._transform is None and self._like is not None and alike:
                self._transform = self._like.transform
            if self._transform is None:
                self._transform = transform_for(self.reader.header, self._model_file(), self._device)
            return self._transform

    @property
    def decoders(self) -> Decoders:
        """What turns bytes into codes, made when first needed."""
        with self._making:
            if self._decoders is None:
                model = None if self.reader.header.grid.ordinal else self._model_file()
                decoders = decoders_of(self.reader, model, keep_costs=self._keep_costs)
                working_memory(self.reader.header, decoders)
                self._decoders = decoders
            return self._decoders

    def prepare(self) -> None:
        """Load all that decoding needs beside the file."""
        self.decoders.prepare()
        _ = self.transform

    def frames_before(self, tick: int) -> int:
        """How many frames begin to be shown before a time in the header's time base."""
        number = bisect.bisect_left(self.reader.gops, tick, key=lambda entry: entry.start) - 1
        if number < 0:
            return 0
        return self.starts[number] + int(np.searchsorted(self.reader.gop(number).pts[:-1], tick))

    def bounds(self) -> tuple[float, float]:
        """From when to when something is shown, in seconds."""
        entries = self.reader.gops
        begin, end = self._seconds(np.array([entries[0].start, entries[-1].end] if entries else [0, 0]))
        return float(begin), float(end)

    def shown_at(self, seconds: float) -> int:
        """The frame that is shown at a time; IndexError where none is."""
        begin, end = self.bounds()
        if not begin <= seconds < end:
            raise IndexError(f"nothing is shown at {seconds:g} s, but from {begin:g} to {end:g} s")
        entries = self.reader.gops
        base = self.reader.header.video.time_base
        number = bisect.bisect_right(entries, seconds, key=lambda entry: float(entry.start * base)) - 1
        shown = self._seconds(self._access.gop(number).pts[:-1])
        return self.starts[number] + int(np.searchsorted(shown, seconds, "right")) - 1

    def times(self) -> NDArray[np.float64]:
        """When each frame is shown, in seconds [len]."""
        ticks = [self.reader.gop(number).pts[:-1] for number in range(len(self.reader.gops))]
        return self._seconds(np.concatenate([np.empty(0, np.int64), *ticks]))

    @property
    def _access(self) -> RandomAccess:
        decoders = self.decoders
        with self._making:
            if self._opened is None:
                self._opened = RandomAccess(self.reader.gop, decoders, self._cache, self._key)
            return self._opened

    def _model_file(self) -> ModelFile | None:
        """The model that the header names, looked for once."""
        if self._like is not None:
            return self._like._model_file()
        if self._found is None:
            self._found = (model_of(self.reader, self._model),)
        return self._found[0]

    def _codes_of(self, gop: Gop, most: int) -> Iterator[Grids]:
        """All codes of a GOP in order; those of small pictures are kept for who comes back to them."""
        if BATCH_FRAMES * self.reader.header.grid.size > BATCH_BYTES:
            return decode_gop(gop, self.decoders, most)
        number = bisect.bisect_left(self.reader.gops, gop.first_frame, key=lambda entry: entry.first_frame)
        return self._access.run(number, gop, most)

    def _each_gop(
        self, places: NDArray[np.intp], work: Callable[[int, NDArray[np.intp], slice], None], need: int
    ) -> None:
        """Call `work` for each GOP of some frames in ascending order, in threads, each of which takes `need` bytes.

        It is given the number of the GOP, the frames within it, and where these stand among all.
        """
        starts = np.asarray(self.starts)
        numbers = np.searchsorted(starts, places, "right") - 1
        cuts = [0, *(np.flatnonzero(np.diff(numbers)) + 1), len(places)] if len(places) else []
        tasks = [
            (int(numbers[first]), places[first:last] - starts[numbers[first]], slice(int(first), int(last)))
            for first, last in pairwise(cuts)
        ]
        jobs = limits.affordable(min(self._jobs, len(tasks)), need)
        if jobs < 2:
            for task in tasks:
                work(*task)
            return
        with ThreadPoolExecutor(jobs) as pool:
            for _ in pool.map(work, *zip(*tasks, strict=True)):
                pass

    def _places(self, indices: Iterable[int]) -> tuple[NDArray[np.intp], NDArray[np.intp] | None]:
        """The frames of some indices, each once and ascending; and where each index has its own, None if as it is."""
        wanted = np.array([operator.index(each) for each in indices], np.intp)
        wrong = (wanted < -len(self)) | (wanted >= len(self))
        if wrong.any():
            raise IndexError(f"frame {wanted[wrong][0]} of a video of {len(self)}")
        wanted[wanted < 0] += len(self)
        if (np.diff(wanted) > 0).all():
            return wanted, None
        places, inverse = np.unique(wanted, return_inverse=True)
        return places, inverse

    def _seconds(self, ticks: NDArray[np.int64]) -> NDArray[np.float64]:
        """Times in the header's time base as the nearest seconds."""
        base = self.reader.header.video.time_base
        return ticks * float(base.numerator) / base.denominator


def _transforms(video: IndexedVideo) -> tuple[object, ...]:
    """All that decides how pictures are made of codes, beside the model."""
    header = video.reader.header
    return header.transform, header.quantizer, header.grid, header.video.width, header.video.height


def _identity(path: str | Path) -> Hashable:
    """What tells a file from others, and from itself when it has changed."""
    found = Path(path).stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
