"""Frames that one process hands over and another one encodes: a queue that is bounded in bytes, not in frames.

What waits is packed, so that a program that makes frames in bursts, or faster than they are coded, seldom has to wait.
"""

import struct
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import BinaryIO

import numpy as np
import zstandard
from numpy.typing import NDArray

from pacodec import limits
from pacodec.common.layout import ArrayLayout
from pacodec.common.media import AudioPacket, Frame, VideoFormat
from pacodec.errors import PacodecError
from pacodec.gop.parallel import Stopped

QUEUE_BYTES = 64 * limits.MIB
"""What waits may take, packed and not yet packed; more only where one frame does."""
CHUNK_BYTES = 2 * limits.MIB
"""Frames that are packed at once."""
_LEVEL = 1
_SIZES = struct.Struct("<II")
"""Before each chunk: how many frames it has, and bytes. Without frames it is the end."""

Arrays = NDArray[np.uint8]


class FrameQueue:
    """Takes arrays in one thread and gives packed chunks of them to another one."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        """For arrays uint8 [*shape]."""
        self.shape = shape
        self._changed = threading.Condition()
        self._room = np.empty((0, *shape), np.uint8)
        self._filled = 0
        self._full: deque[Arrays] = deque()
        self._packed: deque[bytes] = deque()
        self.held = 0
        """Bytes that wait."""
        self._ended = self._stopped = False
        threading.Thread(target=self._pack, name="pacodec packs frames", daemon=True).start()

    def put(self, array: Arrays) -> None:
        """Take an array uint8 [*shape], of which a copy is made; waits for room. Stopped where nobody reads on."""
        with self._changed:
            self._wait(lambda: not self.held or self.held + array.nbytes <= QUEUE_BYTES)
            if self._filled == len(self._room):
                self._room = np.empty((max(1, CHUNK_BYTES // max(1, array.nbytes)), *self.shape), np.uint8)
                self._filled = 0
            self._room[self._filled] = array
            self._filled += 1
            self.held += array.nbytes
            if self._filled == len(self._room):
                self._hand_on()

    def end(self) -> None:
        """No more arrays."""
        with self._changed:
            self._hand_on()
            self._ended = True
            self._changed.notify_all()

    def stop(self) -> None:
        """Give up: the next `put` and the reader's next chunk raise Stopped."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def chunks(self) -> Iterator[bytes]:
        """What `unpacked` reads, piece by piece, to its end."""
        while True:
            with self._changed:
                self._wait(lambda: bool(self._packed) or (self._ended and not self.held))
                if not self._packed:
                    break
                chunk = self._packed.popleft()
                self.held -= len(chunk)
                self._changed.notify_all()
            yield chunk
        yield _SIZES.pack(0, 0)

    def _hand_on(self) -> None:
        if self._filled:
            self._full.append(self._room[: self._filled])
            self._room, self._filled = self._room[:0], 0
            self._changed.notify_all()

    def _pack(self) -> None:
        compressor = zstandard.ZstdCompressor(_LEVEL)
        try:
            while True:
                with self._changed:
                    self._wait(lambda: bool(self._full) or self._ended)
                    if not self._full:
                        return
                    arrays = self._full.popleft()
                data = compressor.compress(np.concatenate([arrays[:1], arrays[1:] - arrays[:-1]]).data)
                chunk = _SIZES.pack(len(arrays), len(data)) + data
                with self._changed:
                    self._packed.append(chunk)
                    self.held += len(chunk) - arrays.nbytes
                    self._changed.notify_all()
        except Stopped:
            return

    def _wait(self, ready: Callable[[], bool]) -> None:
        self._changed.wait_for(lambda: self._stopped or ready())
        if self._stopped:
            raise Stopped


class ArrayFrames:
    """A source of frames, see `EncoderInput`, that are arrays; they are one unit of its time base apart."""

    frames_hint: int | None = None
    source_bytes: int | None = None

    def __init__(self, arrays: Iterable[Arrays], layout: ArrayLayout, frame_rate: Fraction) -> None:
        """Frames uint8 [*layout.shape], `frame_rate` a second."""
        self._arrays, self.layout = arrays, layout
        self.format = VideoFormat(layout.width, layout.height, 1 / frame_rate, frame_rate, array=layout.shape)
        self.warnings: list[str] = []

    def __iter__(self) -> Iterator[Frame | AudioPacket]:
        """The frames, and what goes wrong with the arrays."""
        for number, array in enumerate(self._arrays):
            yield Frame(self.layout.to_picture(array), number, 1)


def unpacked(stream: BinaryIO, shape: tuple[int, ...]) -> Iterator[Arrays]:
    """The arrays uint8 [*shape] of a `FrameQueue`, whose chunks the stream brings.

    PacodecError where it breaks off, because whoever fed it did.
    """
    while True:
        sizes = stream.read(_SIZES.size)
        if len(sizes) < _SIZES.size:
            raise PacodecError("the program that wrote frames gave up")
        count, length = _SIZES.unpack(sizes)
        if not count:
            return
        data = stream.read(length)
        if len(data) < length:
            raise PacodecError("the program that wrote frames gave up")
        packed = np.frombuffer(zstandard.ZstdDecompressor().decompress(data), np.uint8)
        yield from np.add.accumulate(packed.reshape(count, *shape), axis=0, dtype=np.uint8)
