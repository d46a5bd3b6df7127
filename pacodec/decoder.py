"""A .pac file as a sequence of pictures, at random or in order."""

import bisect
import math
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from functools import partial
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Self, overload

import numpy as np
from numpy.typing import NDArray

from pacodec import limits
from pacodec.ahead import in_order
from pacodec.blas import one_thread
from pacodec.coders import PictureCoder, coder_for
from pacodec.container import Gop, Header, Reader
from pacodec.errors import CorruptFileError, LimitError, UsageError
from pacodec.gops import GopCursor, decode_gop, pull_frames
from pacodec.grids import Grids
from pacodec.media import Image
from pacodec.metadata import Metadata
from pacodec.naming import naming
from pacodec.predictors.base import Predictor
from pacodec.predictors.crew import Crew
from pacodec.resolve import model_of, predictor_of
from pacodec.transforms.base import Pictures

AHEAD_BYTES = 16 << 20
"""Codes that wait, decoded, for the pictures to be made, a GOP."""

Damage = CorruptFileError | LimitError
"""What makes a GOP useless and leaves the others alone."""


def exact_seconds(seconds: float) -> Fraction:
    """What was meant: 0.12 is 3/25, while the float is a little less and would fall into the frame before."""
    return Fraction(seconds).limit_denominator(10**6)


def working_memory(header: Header, predictor: Predictor, pictures: int = 1) -> int:
    """Bytes that decoding a GOP takes, about, while so many pictures are made of it; LimitError where too many."""
    video = header.video
    need = predictor.memory(header.grid) + 9 * pictures * video.width * video.height
    limits.check_memory(f"decoding pictures of {video.width}x{video.height}", need)
    return need


class GopPictures:
    """Makes the pictures of whole GOPs from their codes, repeats included, in batches."""

    def __init__(
        self,
        header: Header,
        coder: PictureCoder,
        predictor: Predictor,
        jobs: int = 1,
        on_damage: Callable[[Gop, Damage], None] | None = None,
    ) -> None:
        """With `on_damage`, a GOP whose codes are wrong is reported to it, in whatever thread, and left out.

        So is the rest of one whose pictures cannot be made.
        """
        self.header, self.coder, self.on_damage = header, coder, on_damage
        picture = 3 * header.video.width * header.video.height
        self.step = pull_frames(max(header.grid.size, picture))
        need = working_memory(header, predictor, self.step)
        self.jobs = limits.affordable(jobs, need + AHEAD_BYTES)
        self.crew = Crew(predictor, self.jobs)

    def run(self, gops: Iterator[Gop]) -> Iterator[tuple[Gop, int, Pictures]]:
        """(GOP, frame within it, pictures uint8 [n, H, W, 3]) for all frames of the GOPs in order.

        The codes are decoded ahead in `jobs` threads and the pictures made in as many; CorruptFileError or LimitError
        comes where a GOP's codes are wrong.
        """
        last: NDArray[np.uint8] = np.empty(0, np.uint8)
        spoiled: Gop | None = None
        with one_thread(), self.crew:
            for gop, first, repeats, pictures in self._pictures(gops):
                if gop is spoiled:
                    continue
                if isinstance(pictures, Damage):
                    if self.on_damage is None:
                        raise pictures
                    self.on_damage(gop, pictures)
                    spoiled = gop
                    continue
                made = last[:0] if pictures is None else pictures
                lookup = np.cumsum(~repeats) - 1
                if lookup[0] < 0:  # the batch begins with repeats of the last one's final picture
                    made, lookup = np.concatenate([last, made]), lookup + 1
                yield gop, first, made if len(made) == len(lookup) else made[lookup]
                last = made[-1:]

    def _pictures(self, gops: Iterator[Gop]) -> Iterator[tuple[Gop, int, NDArray[np.bool_], Pictures | Damage | None]]:
        """(GOP, first frame, repeat flags, pictures of the frames that are no repeats, if any) in order.

        In place of pictures that cannot be made stands the reason.
        """
        tasks = (partial(self._codes, gop) for gop in gops)
        depth = max(2, AHEAD_BYTES // (self.step * self.header.grid.size))
        coded = in_order(tasks, self.jobs, depth)
        if self.jobs == 1:
            for gop, first, repeats, codes in coded:
                yield gop, first, repeats, self._decode(gop, codes)
            return
        made: deque[tuple[Gop, int, NDArray[np.bool_], Future[Pictures | Damage | None]]] = deque()
        with ThreadPoolExecutor(self.jobs) as pool:
            for gop, first, repeats, codes in coded:
                made.append((gop, first, repeats, pool.submit(self._decode, gop, codes)))
                if len(made) > self.jobs + 1:
                    yield _finished(made.popleft())
            while made:
                yield _finished(made.popleft())

    def _decode(self, gop: Gop, codes: Grids) -> Pictures | Damage | None:
        try:
            return self.coder.decode(codes, gop.transform, gop.quantizer) if len(codes) else None
        except (CorruptFileError, LimitError) as error:
            return error

    def _codes(self, gop: Gop) -> Iterator[tuple[Gop, int, NDArray[np.bool_], Grids]]:
        """(GOP, first frame, repeat flags, codes of the frames that are no repeats), each frame once."""
        coded = np.flatnonzero(~gop.repeats)
        done = 0
        for codes in self._decoded(gop):
            begin, done = coded[done], done + len(codes)
            end = coded[done] if done < len(coded) else gop.frames
            # A long still is given out in pieces, or its pictures would fill the memory.
            for first in range(begin, end, 4 * self.step):
                repeats = gop.repeats[first : min(first + 4 * self.step, end)]
                taken = int(np.count_nonzero(~gop.repeats[begin:first]))
                yield gop, first, repeats, codes[taken : taken + int(np.count_nonzero(~repeats))]

    def _decoded(self, gop: Gop) -> Iterator[Grids]:
        batches = decode_gop(gop, self.header.grid, self.crew, self.step)
        if self.on_damage is None:
            yield from batches
            return
        try:
            # All or nothing, and the checksum comes last: what is too much to be held until then is decoded twice.
            if gop.coded_frames * self.header.grid.size <= AHEAD_BYTES:
                batches = iter(list(batches))
            else:
                for _ in batches:
                    pass
                batches = decode_gop(gop, self.header.grid, self.crew, self.step)
        except (CorruptFileError, LimitError) as error:
            self.on_damage(gop, error)
            return
        yield from batches


def _finished(
    item: "tuple[Gop, int, NDArray[np.bool_], Future[Pictures | Damage | None]]",
) -> tuple[Gop, int, NDArray[np.bool_], Pictures | Damage | None]:
    gop, first, repeats, future = item
    return gop, first, repeats, future.result()


class Decoder(Sequence[Image]):
    """Random access to an open .pac file: `len`, `[i]` (negative too), slices, ranges, `codes(i)`, `metadata`.

    A picture is uint8 [H, W, 3] RGB. Works in a `with` statement, from several threads, and after a fork.

    Of a damaged file the frames of its intact GOPs are there, numbered without gaps; `damage` lists what is not. A good
    index hides damage to a GOP until a frame of it is asked for, which then is an error. So are all frames of a GOP
    once its codes turned out not to match their checksum: running through it always finds that, a picture out of its
    middle comes before they can be compared.

    Raises FileAccessError, CorruptFileError, UnsupportedError, ModelError (the first picture asked for needs the model)
    or LimitError.
    """

    def __init__(self, path: str | Path, *, model: str | None = None, device: str = "auto", jobs: int = 1) -> None:
        with naming(path):
            self._reader = Reader(path)
        self._model, self._device, self._jobs = model, device, jobs
        self._starts = [0, *accumulate(entry.frames for entry in self._reader.gops)]
        self._coder: PictureCoder | None = None
        self._predictor: Predictor | None = None
        self._cursor: tuple[int, GopCursor] | None = None
        self._renew()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file."""
        self._reader.close()

    @property
    def metadata(self) -> Metadata:
        """Size, duration, model and statistics."""
        return Metadata.of(self._reader)

    @property
    def damage(self) -> list[str]:
        """What has been found wrong with the file so far, a line each."""
        return self._reader.damage

    def __len__(self) -> int:
        return self._starts[-1]

    @overload
    def __getitem__(self, index: int) -> Image: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Image]: ...
    def __getitem__(self, index: int | slice) -> Image | Sequence[Image]:
        """A picture uint8 [H, W, 3], or for a slice a list of them; IndexError beyond the ends."""
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1:
                return [picture for batch in self.batches(start, stop) for picture in batch]
            wanted = range(start, stop, step)
            pictures = [self[i] for i in sorted(wanted)]  # forwards: a step back decodes its GOP anew
            return pictures if step > 0 else pictures[::-1]
        number, frame = self._locate(index)
        with self._fresh_lock():
            cursor = self._at(number)
            codes = cursor.codes(frame)[None]
            picture: Image = self.coder.decode(codes, cursor.gop.transform, cursor.gop.quantizer)[0]
        return picture

    def codes(self, index: int) -> NDArray[np.uint8]:
        """The latent codes of a frame, uint8 [C, h, w]; of an identical frame those of its predecessor."""
        number, frame = self._locate(index)
        with self._fresh_lock():
            return self._at(number).codes(frame)

    def times(self) -> NDArray[np.float64]:
        """When each frame is shown, in seconds [len]."""
        ticks = [self._reader.gop(number).pts[:-1] for number in range(len(self._reader.gops))]
        shown = np.concatenate([np.empty(0, np.int64), *ticks])
        return shown.astype(np.float64) * float(self._reader.header.video.time_base)

    def batches(self, start: int = 0, stop: int | None = None) -> Iterator[Pictures]:
        """Frames start to stop in order, uint8 [n, H, W, 3] at a time: the fast way through many frames.

        The two count as in a slice: negative ones from the end.
        """
        start, stop, _ = slice(start, stop).indices(len(self))
        if start >= stop:
            return
        first, last = bisect.bisect_right(self._starts, start) - 1, bisect.bisect_left(self._starts, stop)
        position = self._starts[first]
        gops = (self._reader.gop(number) for number in range(first, last))
        for _, _, pictures in GopPictures(self._reader.header, self.coder, self.predictor, self._jobs).run(gops):
            wanted = pictures[max(0, start - position) : max(0, stop - position)]
            position += len(pictures)
            if len(wanted):
                yield wanted
            if position >= stop:
                return

    def frames_between(self, start: float, end: float) -> Iterator[Image]:
        """The pictures shown at some time in [start, end), in seconds; UsageError for a range that is not one."""
        if not -math.inf < start <= end < math.inf:
            raise UsageError(f"{start:g} to {end:g} seconds is no range of time")
        base, entries = self._reader.header.video.time_base, self._reader.gops
        begin, until = exact_seconds(start) / base, exact_seconds(end) / base
        if start == end or not entries or begin >= entries[-1].end:
            return
        first = max(0, self._frames_before(math.floor(begin) + 1) - 1)
        for batch in self.batches(first, self._frames_before(math.ceil(until))):
            yield from batch

    @property
    def coder(self) -> PictureCoder:
        """What turns codes into pictures, made when first needed."""
        if self._coder is None:
            header = self._reader.header
            model = model_of(header, self._reader.model_bytes(), self._model)
            self._coder = coder_for(header, model, self._device)
        return self._coder

    @property
    def predictor(self) -> Predictor:
        """What turns bytes into codes, made when first needed."""
        if self._predictor is None:
            header = self._reader.header
            predictor = predictor_of(header, self._reader.model_bytes(), self._model)
            working_memory(header, predictor)
            self._predictor = predictor
        return self._predictor

    def _frames_before(self, tick: int) -> int:
        """How many frames begin to be shown before a time in the header's time base."""
        number = bisect.bisect_left(self._reader.gops, tick, key=lambda entry: entry.start) - 1
        if number < 0:
            return 0
        return self._starts[number] + int(np.searchsorted(self._reader.gop(number).pts[:-1], tick))

    def _locate(self, index: int) -> tuple[int, int]:
        """GOP and frame within it."""
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(f"frame {index} of a video of {len(self)}")
        number = bisect.bisect_right(self._starts, position) - 1
        return number, position - self._starts[number]

    def _at(self, number: int) -> GopCursor:
        if self._cursor is None or self._cursor[0] != number:
            header = self._reader.header
            self._cursor = number, GopCursor(self._reader.gop(number), header.grid, self.predictor)
        return self._cursor[1]

    def _renew(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._cursor = None

    def _fresh_lock(self) -> threading.Lock:
        """The lock, made anew after a fork: a thread of the parent may have held it, and it is not here to let go."""
        if self._process != os.getpid():
            self._renew()
        return self._lock
