"""A .pac file as a sequence of pictures, at random or in order."""

import bisect
import math
import os
import threading
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Self, overload

import numpy as np
from numpy.typing import NDArray

from pacodec.common.media import Image, Pictures
from pacodec.common.naming import naming
from pacodec.container import Reader
from pacodec.errors import UsageError
from pacodec.gop.coding import GopCursor
from pacodec.gop.grid_transforms import transform_for
from pacodec.gop.pictures import GopPictures, working_memory
from pacodec.gop.priors import Decoders
from pacodec.gop.resolve import decoders_of, model_of
from pacodec.metadata import Metadata
from pacodec.models.files import ModelFile
from pacodec.transforms.base import GridTransform


def exact_seconds(seconds: float) -> Fraction:
    """What was meant: 0.12 is 3/25, while the float is a little less and would fall into the frame before."""
    return Fraction(seconds).limit_denominator(10**6)


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
        self._transform: GridTransform | None = None
        self._decoders: Decoders | None = None
        self._found: tuple[ModelFile | None] | None = None
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
            picture: Image = self.transform.decode(codes, cursor.gop.transform, cursor.gop.quantizer)[0]
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
        for _, _, pictures in GopPictures(self._reader.header, self.transform, self.decoders, self._jobs).run(gops):
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
    def transform(self) -> GridTransform:
        """What turns codes into pictures, made when first needed."""
        if self._transform is None:
            self._transform = transform_for(self._reader.header, self._model_file(), self._device)
        return self._transform

    @property
    def decoders(self) -> Decoders:
        """What turns bytes into codes, made when first needed."""
        if self._decoders is None:
            needs_model = not self._reader.header.grid.ordinal
            decoders = decoders_of(self._reader, self._model_file() if needs_model else None)
            working_memory(self._reader.header, decoders)
            self._decoders = decoders
        return self._decoders

    def _model_file(self) -> ModelFile | None:
        """The model that the header names, looked for once."""
        if self._found is None:
            self._found = (model_of(self._reader.header, self._reader.model_bytes(), self._model),)
        return self._found[0]

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
            self._cursor = number, GopCursor(self._reader.gop(number), self.decoders)
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
