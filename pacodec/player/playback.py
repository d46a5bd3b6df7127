"""What the page shows: frames as changes of pictures, and the bits that frames and their blocks took."""

import bisect
import struct
import threading
from collections import deque
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacodec import limits
from pacodec.common.files import naming
from pacodec.common.grids import Grids
from pacodec.common.media import Image
from pacodec.common.pixels import changed_rows
from pacodec.container import Gop, Reader
from pacodec.engine import BLOCK, COST_UNIT, BlockCosts, GridDecoder
from pacodec.errors import PacodecError
from pacodec.gop.grid_transforms import transform_for
from pacodec.gop.pictures import GopPictures
from pacodec.gop.priors import Decoders, decoders_of, model_of
from pacodec.transforms.base import PICTURE

BATCH_BYTES = 8 * limits.MIB
"""Of a batch of frames; more only where one frame takes more."""
_FRAME = struct.Struct("<IHHHHfI")
"""Number; column, row, width and height of what changed; bits, NaN where not known; how many blocks' bits follow."""

_Shown = tuple[int, Image, NDArray[np.float32] | None]
"""A frame's number, its picture, and the bits of its blocks and of what is of no block."""


class Playback:
    """A file to be shown, from anywhere on. Safe to share between threads."""

    def __init__(self, path: str | Path, model: str | None = None, device: str = "auto") -> None:
        """Raises what `pacodec.open` raises."""
        with naming(path):
            self.reader = Reader(path)
            header = self.reader.header
            found = model_of(self.reader, model)
            self._transform = transform_for(header, found, device)
            known = None if header.grid.ordinal else found
            self._decoders = decoders_of(self.reader, known, keep_costs=True)
        self.path = path
        self._starts = [0, *accumulate(entry.frames for entry in self.reader.gops)]
        self._lock = threading.Lock()
        self._stream: Iterator[_Shown] = iter(())
        self._last: tuple[int, Image | None] = -1, None
        self.bits: NDArray[np.float32] = np.full(len(self), np.nan, np.float32)
        """Of each frame, NaN where `count_bits` has not been yet, or where it cannot be known."""
        self._counting: threading.Thread | None = None
        self.counted = 0
        """Frames whose bits have been counted."""

    def __len__(self) -> int:
        return self._starts[-1]

    @property
    def block(self) -> tuple[float, float]:
        """Height and width of a block, in pixels of the picture."""
        video, grid = self.reader.header.video, self.reader.header.grid
        return BLOCK * video.height / grid.height, BLOCK * video.width / grid.width

    def times(self) -> NDArray[np.float64]:
        """When each frame is shown, and the end, in seconds, float64 [frames + 1]."""
        gops = [self.reader.gop(number) for number in range(len(self.reader.gops))]
        ticks = np.concatenate([*(gop.pts[:-1] for gop in gops), gops[-1].pts[-1:]]) if gops else np.empty(0)
        return ticks.astype(np.float64) * float(self.reader.header.video.time_base)

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
        number = bisect.bisect_right(self._starts, start) - 1
        taken: deque[NDArray[np.float32] | None] = deque()
        decoders = _ListeningDecoders(self._decoders, taken)
        gops = (self.reader.gop(each) for each in range(number, len(self.reader.gops)))
        position = self._starts[number]
        none = np.zeros(1, np.float32)
        for gop, first, pictures in GopPictures(self.reader.header, self._transform, decoders).run(gops):
            for picture, repeats in zip(pictures, gop.repeats[first:], strict=False):
                costs = none if repeats else taken.popleft()
                if position >= start:
                    yield position, picture, costs
                position += 1

    def _count(self) -> None:
        for number in range(len(self.reader.gops)):
            try:
                gop = self.reader.gop(number)
                bits = _bits_of(gop, self._decoders, self.reader.header.transform.name == PICTURE)
            except PacodecError:  # which the frames themselves will say
                self.counted = self._starts[number + 1]
                continue
            shown = np.zeros(gop.frames, np.float32)
            shown[~gop.repeats] = bits
            self.bits[self._starts[number] : self._starts[number + 1]] = shown
            self.counted = self._starts[number + 1]


class _ListeningDecoders:
    """Decoders whose grids' costs are written down as they are decoded: of each the bits of its blocks, or None."""

    def __init__(self, decoders: Decoders, taken: "deque[NDArray[np.float32] | None]") -> None:
        self.spec, self.memory, self._decoders, self._taken = decoders.spec, decoders.memory, decoders, taken

    def decoder(self, gop: Gop) -> GridDecoder:
        """One that writes down."""
        return _ListeningDecoder(self._decoders.decoder(gop), self._taken)

    def prepare(self) -> None:
        """Do what takes time before the first GOP."""
        self._decoders.prepare()


class _ListeningDecoder:
    def __init__(self, decoder: GridDecoder, taken: "deque[NDArray[np.float32] | None]") -> None:
        self._decoder, self._taken = decoder, taken

    @property
    def costs(self) -> BlockCosts | None:
        return self._decoder.costs

    def pull(self, n: int) -> Grids:
        grids = self._decoder.pull(n)
        costs = self._decoder.costs
        self._taken.extend([None] * n if costs is None else (costs / np.float32(COST_UNIT)).astype(np.float32))
        return grids

    def finish(self) -> None:
        self._decoder.finish()


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


def _bits_of(gop: Gop, decoders: Decoders, packets: bool) -> NDArray[np.float32]:
    """What each coded frame of a GOP took; the GOP's mean where parts of it cannot be told apart."""
    count = gop.coded_frames
    if packets:
        from pacodec.base_layer.decoding import packets_of

        stored = packets_of(gop)
        if len(stored) == count and all(packet.pts is not None for packet in stored):
            stored.sort(key=lambda packet: packet.pts or 0)
            return np.array([8 * len(packet.data) for packet in stored], np.float32)
        return np.full(count, 8 * len(gop.payload) / max(count, 1), np.float32)
    decoder = decoders.decoder(gop)
    bits = np.empty(count, np.float32)
    for number in range(count):
        decoder.pull(1)
        if decoder.costs is None:
            return np.full(count, 8 * len(gop.payload) / max(count, 1), np.float32)
        bits[number] = decoder.costs.sum(dtype=np.float64) / COST_UNIT
    return bits
