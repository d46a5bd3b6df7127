"""What the page shows: frames as changes of pictures, and the bits that frames and their blocks took."""

import bisect
import struct
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacodec import limits
from pacodec.common.files import naming
from pacodec.common.media import Grids, Image
from pacodec.common.pixels import changed_rows
from pacodec.container import Gop
from pacodec.engine import BLOCK, COST_UNIT, BlockCosts
from pacodec.errors import PacodecError
from pacodec.gop.coding import CheckedDecoder, batch_frames
from pacodec.gop.indexed_video import IndexedVideo
from pacodec.gop.pictures import GopPictures
from pacodec.gop.priors import NONE
from pacodec.transforms.base import PICTURE

BATCH_BYTES = 8 * limits.MIB
"""Of a batch of frames; more only where one frame takes more."""
_FRAME = struct.Struct("<IHHHHfI")
"""Number; column, row, width and height of what changed; bits, NaN where not known; how many blocks' bits follow."""

_Shown = tuple[int, Image, NDArray[np.float32] | None]
"""A frame's number, its picture, and the bits of its blocks and of what is of no block."""


class Playback(IndexedVideo):
    """A file to be shown, from anywhere on. Safe to share between threads."""

    def __init__(self, path: str | Path, model: str | None = None, device: str = "auto") -> None:
        """Raises what `pacodec.open` raises."""
        super().__init__(path, model, device, keep_costs=True)
        with naming(path):
            _ = self.transform, self.decoders  # what is missing is said before anything is shown
        self.path = path
        self._lock = threading.Lock()
        self._stream: Iterator[_Shown] = iter(())
        self._last: tuple[int, Image | None] = -1, None
        self.bits: NDArray[np.float32] = np.full(len(self), np.nan, np.float32)
        """Of each frame, NaN where `count_bits` has not been yet, or where it cannot be known."""
        self._counting: threading.Thread | None = None
        self.counted = 0
        """Frames whose bits have been counted."""

    @property
    def block(self) -> tuple[float, float]:
        """Height and width of a block, in pixels of the picture."""
        video, grid = self.reader.header.video, self.reader.header.grid
        return BLOCK * video.height / grid.height, BLOCK * video.width / grid.width

    def frames(self, start: int, count: int, *, whole: bool, blocks: bool) -> bytes:
        """Frames from `start` on, at most `count` and `BATCH_BYTES`, each as what differs from the one before, RGBA.

        The first is the `whole` picture if that is asked for, or was not the next one after those last given. With
        `blocks` each brings the bits of its blocks. CorruptFileError where a frame is damaged.
        """
        with self._lock, naming(self.path):
            number, last = self._last
            if start != number + 1 or last is None:
                self._stream, last = self._shown(start), None
            before = None if whole else last
            parts, size = list[bytes](), 0
            while len(parts) < count and size < BATCH_BYTES:
                shown = next(self._stream, None)
                if shown is None:
                    break
                number, picture, costs = shown
                parts.append(_packed(number, before, picture, costs, blocks))
                size += len(parts[-1])
                before = picture
                self._last = number, picture
            return b"".join(parts)

    def count_bits(self) -> None:
        """Begin to find out what each frame took, in a thread of its own, unless that was begun before."""
        with self._lock:
            if self._counting is None:
                self._counting = threading.Thread(target=self._count, name="pacodec counts bits", daemon=True)
                self._counting.start()

    def _shown(self, start: int) -> Iterator[_Shown]:
        number = bisect.bisect_right(self.starts, start) - 1
        taken: deque[NDArray[np.float32] | None] = deque()

        def codes(gop: Gop, most: int) -> Iterator[Grids]:
            for grids, costs in self._coded(gop, most):
                taken.extend([None] * len(grids) if costs is None else costs.astype(np.float32) / COST_UNIT)
                yield grids

        gops = (self.reader.gop(each) for each in range(number, len(self.reader.gops)))
        position = self.starts[number]
        none = np.zeros(1, np.float32)
        made = GopPictures(self.reader.header, self.transform, self.decoders, codes=codes)
        for gop, first, pictures in made.run(gops):
            for picture, repeats in zip(pictures, gop.repeats[first:], strict=False):
                costs = none if repeats else taken.popleft()
                if position >= start:
                    yield position, picture, costs
                position += 1

    def _coded(self, gop: Gop, most: int) -> Iterator[tuple[Grids, BlockCosts | None]]:
        """All codes of a GOP in order, repeats left out, at most so many at a time, and what they took."""
        decoder = CheckedDecoder(gop, self.decoders)
        while decoder.left:
            grids = decoder.pull(min(most, decoder.left))
            yield grids, decoder.costs

    def _count(self) -> None:
        for number, first in enumerate(self.starts[:-1]):
            try:
                gop = self.reader.gop(number)
                shown = np.zeros(gop.frames, np.float32)
                shown[~gop.repeats] = self._bits_of(gop)
                self.bits[first : first + gop.frames] = shown
            except PacodecError:
                pass  # which the frames themselves will say
            self.counted = self.starts[number + 1]

    def _bits_of(self, gop: Gop) -> NDArray[np.float32]:
        """What each coded frame of a GOP took; the GOP's mean where parts of it cannot be told apart."""
        count = gop.coded_frames
        if self.reader.header.transform.name == PICTURE:
            from pacodec.base_layer.decoding import packets_of

            stored = packets_of(gop)
            if len(stored) == count and all(packet.pts is not None for packet in stored):
                stored.sort(key=lambda packet: packet.pts or 0)
                return np.array([8 * len(packet.data) for packet in stored], np.float32)
        elif gop.coder.name != NONE:
            coded = self._coded(gop, batch_frames(self.decoders.spec.size))
            sums = [costs.sum(1, np.float64) for _, costs in coded if costs is not None]
            return (np.concatenate([np.empty(0), *sums]) / COST_UNIT).astype(np.float32)
        return np.full(count, 8 * len(gop.payload) / max(count, 1), np.float32)


def _packed(
    number: int, before: Image | None, picture: Image, costs: NDArray[np.float32] | None, blocks: bool
) -> bytes:
    top, bottom, left, right = 0, picture.shape[0], 0, picture.shape[1]
    if before is not None:
        rows = np.flatnonzero(changed_rows(before, picture))
        top, bottom = (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)
        columns = np.flatnonzero((picture[top:bottom] != before[top:bottom]).any((0, 2)))
        left, right = (int(columns[0]), int(columns[-1]) + 1) if len(columns) else (0, 0)
    changed = np.full((bottom - top, right - left, 4), 255, np.uint8)
    changed[..., :3] = picture[top:bottom, left:right]
    bits = np.nan if costs is None else float(costs.sum())
    listed = costs[:-1] if blocks and costs is not None else np.empty(0, np.float32)
    head = _FRAME.pack(number, left, top, right - left, bottom - top, bits, len(listed))
    return head + changed.tobytes() + listed.astype("<f4").tobytes()
