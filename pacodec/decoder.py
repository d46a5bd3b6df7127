"""A .pac file as a sequence of pictures, at random or in order."""

import math
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self, overload

import numpy as np
from numpy.typing import NDArray

from pacodec.common.frames import DimensionOrder, Frame, FrameBatch, FrameLayout
from pacodec.common.media import Pictures
from pacodec.errors import UsageError
from pacodec.gop.indexed_video import IndexedVideo
from pacodec.gop.random_access import DecodedCache
from pacodec.metadata import Metadata


def exact_seconds(seconds: float) -> Fraction:
    """What was meant: 0.12 is 3/25, while the float is a little less and would fall into the frame before."""
    return Fraction(seconds).limit_denominator(10**6)


class Decoder(Sequence[Any]):
    """Random access to an open .pac file: a sequence of pictures, with the methods of torchcodec's `VideoDecoder`.

    A picture is uint8 [H, W, 3] RGB, a numpy array, unless another layout is asked for. What was decoded is kept in
    bounded memory, packed, so that going anywhere a second time takes no decoding. Works in a `with` statement, from
    several threads, and after a fork; a pickled one opens its file anew, with its own memory.

    Of a damaged file the frames of its intact GOPs are there, numbered without gaps; `damage` lists what is not. A good
    index hides damage to a GOP until a frame of it is asked for, which then is an error. So are all frames of a GOP
    once its codes turned out not to match their checksum: running through it always finds that, a picture out of its
    middle comes before they can be compared.

    Args:
        path: the file, or all of its bytes.
        model: name or path of the model that the file names, where it is not installed.
        device: of an autoencoder: "cpu", "cuda" or "auto".
        jobs: GOPs that are decoded at once, by as many threads.
        dimension_order: NHWC, or NCHW for pictures [3, H, W].
        as_torch: whether pictures and times are torch tensors.
        cache: memory for what was decoded that several decoders share; None: 64 MiB of its own.
        like: another decoder, whose model is used where both files name the same one.

    Raises FileAccessError, CorruptFileError, UnsupportedError, ModelError (the first picture asked for needs the model)
    or LimitError; UsageError for an unknown dimension order.
    """

    def __init__(
        self,
        path: str | Path | bytes,
        *,
        model: str | None = None,
        device: str = "auto",
        jobs: int = 1,
        dimension_order: DimensionOrder = "NHWC",
        as_torch: bool = False,
        cache: DecodedCache | None = None,
        like: "Decoder | None" = None,
    ) -> None:
        self._layout = FrameLayout(dimension_order, as_torch)
        shared = None if like is None else like._video
        self._video: IndexedVideo = IndexedVideo(path, model, device, jobs, cache, shared)
        self._arguments = {
            "path": path if isinstance(path, bytes) else Path(path).absolute(),
            "model": model,
            "device": device,
            "jobs": jobs,
            "dimension_order": dimension_order,
            "as_torch": as_torch,
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return self._arguments

    def __setstate__(self, arguments: dict[str, Any]) -> None:
        Decoder.__init__(self, **arguments)

    def close(self) -> None:
        """Release the file."""
        self._video.reader.close()

    def prepare(self) -> None:
        """Load the model and replay what GOPs begin from now, so that processes forked from here share it."""
        self._video.prepare()

    @property
    def metadata(self) -> Metadata:
        """Size, duration, model and statistics."""
        return Metadata.of(self._video.reader)

    @property
    def keyframes(self) -> list[int]:
        """The frames that GOPs begin with, in ascending order: those that take the least to reach."""
        return self._video.starts[:-1]

    @property
    def damage(self) -> list[str]:
        """What has been found wrong with the file so far, a line each."""
        return self._video.reader.damage

    def __len__(self) -> int:
        return len(self._video)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        """A picture uint8 [H, W, 3], or for a slice a list of them; IndexError beyond the ends."""
        if not isinstance(index, slice):
            return self._layout.pictures(self._video.gather([index])[0][0])
        start, stop, step = index.indices(len(self))
        if step == 1:
            return [self._layout.pictures(picture) for batch in self.batches(start, stop) for picture in batch]
        return list(self._layout.pictures(self._video.gather(range(start, stop, step))[0]))

    def codes(self, index: int) -> NDArray[np.uint8]:
        """The latent codes of a frame, uint8 [C, h, w]; of an identical frame those of its predecessor."""
        codes: NDArray[np.uint8] = self._video.codes([index])[0]
        return codes

    def codes_at(self, indices: Iterable[int]) -> NDArray[np.uint8]:
        """The latent codes of frames in any order, uint8 [n, C, h, w]; IndexError beyond the ends."""
        return self._video.codes(indices)

    def get_frame_at(self, index: int) -> Frame:
        """A frame with its times; negative indices count from the end, IndexError beyond the ends."""
        return self._frame(index)

    def get_frames_at(self, indices: Iterable[int]) -> FrameBatch:
        """Frames in any order, each decoded once; negative indices count from the end, IndexError beyond the ends."""
        return self._layout.batch(*self._video.gather(indices))

    def get_frames_in_range(self, start: int, stop: int, step: int = 1) -> FrameBatch:
        """The frames of a slice."""
        return self.get_frames_at(range(*slice(start, stop, step).indices(len(self))))

    def get_frame_played_at(self, seconds: float) -> Frame:
        """The frame that is shown at a time; IndexError where none is."""
        return self._frame(self._video.shown_at(float(seconds)))

    def get_frames_played_at(self, seconds: Iterable[float]) -> FrameBatch:
        """The frames that are shown at times in any order; IndexError where none is."""
        return self.get_frames_at([self._video.shown_at(float(each)) for each in seconds])

    def get_frames_played_in_range(
        self, start_seconds: float, stop_seconds: float, fps: float | None = None
    ) -> FrameBatch:
        """The frames that are shown at some time in [start_seconds, stop_seconds).

        With `fps`, what is shown at start_seconds, 1/fps later, and so on, with these times. UsageError for a range
        that is none or that the video does not cover, or a rate that is not positive.
        """
        begin, end = self._video.bounds()
        if not begin <= start_seconds <= stop_seconds <= end or (start_seconds == end and len(self)):
            raise UsageError(f"{start_seconds:g} to {stop_seconds:g} s is not in {begin:g} to {end:g}, what is shown")
        if start_seconds == stop_seconds:
            return self.get_frames_at([])
        if fps is None:
            last = self._video.shown_at(math.nextafter(stop_seconds, -math.inf))
            return self.get_frames_at(range(self._video.shown_at(start_seconds), last + 1))
        if not 0 < fps < math.inf:
            raise UsageError(f"{fps:g} frames/s is no rate")
        times = start_seconds + np.arange(max(1, round((stop_seconds - start_seconds) * fps))) / fps
        pictures, _, _ = self._video.gather([self._video.shown_at(float(each)) for each in times])
        return self._layout.batch(pictures, times, np.full(len(times), 1 / fps))

    def get_all_frames(self, fps: float | None = None) -> FrameBatch:
        """All frames, or with `fps` all that is shown at that rate."""
        if fps is None:
            return self.get_frames_at(range(len(self)))
        return self.get_frames_played_in_range(*self._video.bounds(), fps)

    def times(self) -> NDArray[np.float64]:
        """When each frame is shown, in seconds [len]."""
        return self._video.times()

    def batches(self, start: int = 0, stop: int | None = None) -> Iterator[Pictures]:
        """Frames start to stop in order, uint8 [n, H, W, 3] at a time: the fast way through many frames.

        The two count as in a slice: negative ones from the end.
        """
        return self._video.batches(start, stop)

    def frames_between(self, start: float, end: float) -> Iterator[Any]:
        """The pictures shown at some time in [start, end), in seconds; UsageError for a range that is not one."""
        if not -math.inf < start <= end < math.inf:
            raise UsageError(f"{start:g} to {end:g} seconds is no range of time")
        base, entries = self._video.reader.header.video.time_base, self._video.reader.gops
        begin, until = exact_seconds(start) / base, exact_seconds(end) / base
        if start == end or not entries or begin >= entries[-1].end:
            return
        first = max(0, self._video.frames_before(math.floor(begin) + 1) - 1)
        for batch in self.batches(first, self._video.frames_before(math.ceil(until))):
            yield from map(self._layout.pictures, batch)

    def _frame(self, index: int) -> Frame:
        pictures, pts, durations = self._video.gather([index])
        return Frame(self._layout.pictures(pictures[0]), float(pts[0]), float(durations[0]))
