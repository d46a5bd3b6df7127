"""The codes of any frames of a file's GOPs: what was decoded is kept, packed, as far as memory allows."""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Generic, TypeVar

import numpy as np
import zstandard
from numpy.typing import NDArray

from pacodec import limits
from pacodec.common.locks import ForkSafeLock
from pacodec.common.media import Grids, GridSpec
from pacodec.container import Gop
from pacodec.errors import CorruptFileError
from pacodec.gop.coding import CheckedDecoder, batch_frames
from pacodec.gop.priors import Decoders

KEPT_BYTES = 64 * limits.MIB
"""Packed codes that are kept; a frame of a game takes a few hundred bytes."""
CURSOR_BYTES = 72 * limits.MIB
"""GOPs that are kept open: their payloads, and decoders that stand in their middle; at least one."""
_FAST = 1
"""zstd's level for codes in memory."""

_ABANDONED: list[object] = []
"""What a forked child must not destroy: decoders whose threads it does not have would wait for them for ever."""

GopKey = tuple[Hashable, int]
"""A file, and the number of a GOP in it."""


class DecodedCache:
    """What was decoded of one file or several, in bounded memory. Safe to share between threads; works after a fork.

    Codes are kept packed, of the GOPs that were last in use also decoders that stand in their middle.
    """

    def __init__(self, most_bytes: int = KEPT_BYTES) -> None:
        """`most_bytes`: of packed codes; open GOPs take up to `CURSOR_BYTES` more."""
        self.chunks: BoundedCache[tuple[GopKey, int], bytes] = BoundedCache(most_bytes)
        """Packed codes by GOP, and number of the chunk within it."""
        self.wrong: dict[GopKey, str] = {}
        """What is wrong with GOPs whose codes are: nothing is given out of them."""
        self._begun: set[GopKey] = set()
        self._lock = ForkSafeLock()
        self._begin()

    @contextmanager
    def cursor(self, key: GopKey, make: "Callable[[bool], GopCursor]") -> "Iterator[GopCursor]":
        """The cursor of a GOP, which nobody else sees meanwhile, a forked child neither.

        `make` makes a new one; it is told whether there was one before.
        """
        with self._lock:
            if self._process != os.getpid():
                _ABANDONED.append(self._cursors)
                self._begin()
            cursors = self._cursors
            busy = self._busy.setdefault(key, threading.Lock())
        with busy:
            cursor = cursors.take(key)
            if cursor is None:
                cursor = make(key in self._begun)
                self._begun.add(key)
            try:
                yield cursor
            finally:
                cursors.put(key, cursor, cursor.size)

    def _begin(self) -> None:
        self._process = os.getpid()
        self._cursors: BoundedCache[GopKey, GopCursor] = BoundedCache(CURSOR_BYTES)
        self._busy: dict[GopKey, threading.Lock] = {}


class GopCursor:
    """Random access to the codes of one GOP, chunk after chunk of at most `BATCH_FRAMES` grids.

    Every chunk that is completed goes to the cache; what is not there (any more) is decoded from the GOP's beginning.
    Where that happens a second time, the rest is decoded too, as far as half of the cache holds it: whoever jumps to
    and fro would start over again and again.

    The checksum covers the whole GOP, so it is compared when the last of its codes is reached. Not to be used by two
    threads at once.
    """

    def __init__(self, gop: Gop, decoders: Decoders, cache: DecodedCache, key: GopKey, *, again: bool = False) -> None:
        """`key` tells this GOP from the others in `cache`; `again`: it was decoded from before."""
        self.gop, self._decoders, self._kept = gop, decoders, cache.chunks
        self._key, self._again = key, again
        self._step = batch_frames(decoders.spec.size)
        self._coded_index = np.cumsum(~gop.repeats) - 1
        self._decoder: CheckedDecoder | None = None
        self._chunk, self._filled = -1, 0
        self._grids: Grids = np.empty((0, *_shape(decoders.spec)), np.uint8)
        """The chunk that is being decoded or was the last to be, of which `_filled` grids are there."""

    @property
    def size(self) -> int:
        """Bytes that it takes, about."""
        decoder = self._decoders.memory if self._decoder is not None else 0
        return decoder + self._grids.nbytes + len(self.gop.payload) + self.gop.pts.nbytes + self._coded_index.nbytes

    def codes(self, frames: Sequence[int] | NDArray[np.intp]) -> Grids:
        """Codes of frames of the GOP in ascending order, uint8 [n, C, h, w]; CorruptFileError where they are wrong."""
        wanted = self._coded_index[np.asarray(frames, np.intp)]
        grids = np.empty((len(wanted), *self._grids.shape[1:]), np.uint8)
        start = 0
        while start < len(wanted):
            chunk = int(wanted[start]) // self._step
            end = int(np.searchsorted(wanted, (chunk + 1) * self._step))
            places = wanted[start:end] - chunk * self._step
            grids[start:end] = self._first_of(chunk, int(places[-1]) + 1)[places]
            start = end
        return grids

    def run(self, most: int) -> Iterator[Grids]:
        """All codes of the GOP in order, repeats left out, uint8 [n <= most, C, h, w] at a time."""
        for first in range(0, self.gop.coded_frames, self._step):
            chunk = self._first_of(first // self._step, self._step)
            for start in range(0, len(chunk), most):
                yield chunk[start : start + most]

    def _first_of(self, chunk: int, least: int) -> Grids:
        """The first grids of a chunk, at least so many."""
        if chunk == self._chunk and least <= self._filled:
            return self._grids
        packed = self._kept.get((self._key, chunk))
        if packed is not None:
            return _unpacked(packed, self._decoders.spec)
        if self._decoder is None or chunk < self._chunk:
            self._decoder = CheckedDecoder(self.gop, self._decoders)
            self._open(0)
        while self._chunk < chunk:
            self._next()
        self._fill(least)
        grids = self._grids
        if self._again:
            size = 0
            while self._decoder is not None and size < self._kept.most_bytes // 2:
                size += self._next()
            self._again = False
        return grids

    def _next(self) -> int:
        """Complete the chunk and go on to the one after it, if there is one; the bytes that it takes, packed."""
        size = self._fill(self._step)
        if self._decoder is not None:
            self._open(self._chunk + 1)
        return size

    def _open(self, chunk: int) -> None:
        """Make room for the grids of the next chunk."""
        size = min(self._step, self.gop.coded_frames - chunk * self._step)
        self._grids = np.empty((size, *self._grids.shape[1:]), np.uint8)
        self._chunk, self._filled = chunk, 0

    def _fill(self, least: int) -> int:
        """Decode on until so many grids of the chunk are there, or all; a complete one is kept, in so many bytes."""
        missing = min(least, len(self._grids)) - self._filled
        if missing > 0 and self._decoder is not None:
            pulled = self._decoder.pull(missing)  # named, so that its memory is not broken up by what is kept below
            self._grids[self._filled : self._filled + missing] = pulled
            self._filled += missing
            if not self._decoder.left:
                self._decoder = None
        key = self._key, self._chunk
        if self._filled < len(self._grids) or key in self._kept:
            return 0
        packed = _packed(self._grids, self._decoders.spec)
        self._kept.put(key, packed, len(packed))
        return len(packed)


class RandomAccess:
    """The codes of any frames of a file; several threads may work on as many GOPs. Works after a fork.

    Once a GOP's codes turned out to be wrong, nothing more of it is given out.
    """

    def __init__(self, read: Callable[[int], Gop], decoders: Decoders, cache: DecodedCache, file: Hashable) -> None:
        """`read` gives a GOP by its number; `file` tells the file from others that share the cache."""
        self._read, self._decoders, self._cache, self._file = read, decoders, cache, file

    def gop(self, number: int) -> Gop:
        """A GOP; CorruptFileError or LimitError where it is of no use."""
        with self._cursor(number) as cursor:
            return cursor.gop

    def codes(self, number: int, frames: Sequence[int] | NDArray[np.intp]) -> tuple[Gop, Grids]:
        """A GOP, and the codes of frames of it in ascending order, uint8 [n, C, h, w].

        CorruptFileError or LimitError where the GOP, or its codes, are of no use.
        """
        with self._cursor(number) as cursor, self._judged(number):
            return cursor.gop, cursor.codes(frames)

    def run(self, number: int, gop: Gop, most: int) -> Iterator[Grids]:
        """All codes of a GOP in order, repeats left out, uint8 [n <= most, C, h, w] at a time; errors as above."""
        with self._judged(number):
            yield from GopCursor(gop, self._decoders, self._cache, (self._file, number)).run(most)

    def _cursor(self, number: int) -> AbstractContextManager[GopCursor]:
        key = self._file, number
        return self._cache.cursor(
            key, lambda again: GopCursor(self._read(number), self._decoders, self._cache, key, again=again)
        )

    @contextmanager
    def _judged(self, number: int) -> Iterator[None]:
        """Raise what was found wrong with a GOP before, and remember what is found now."""
        key = self._file, number
        if key in self._cache.wrong:
            raise CorruptFileError(self._cache.wrong[key])
        try:
            yield
        except CorruptFileError as error:
            self._cache.wrong[key] = str(error)
            raise


def _shape(spec: GridSpec) -> tuple[int, int, int]:
    return spec.channels, spec.height, spec.width


def _packed(grids: Grids, spec: GridSpec) -> bytes:
    """Label grids repeat one another; latents and pictures would only cost time."""
    if spec.ordinal:
        return grids.tobytes()
    packed = zstandard.ZstdCompressor(level=_FAST).compress(grids.data)
    # A copy: what zstd gives stands at the start of room for the worst case, and would leave a hole too small for the
    # next grids where memory was large enough for these.
    return bytes(memoryview(packed))


def _unpacked(packed: bytes, spec: GridSpec) -> Grids:
    data = packed if spec.ordinal else zstandard.ZstdDecompressor().decompress(packed)
    return np.frombuffer(data, np.uint8).reshape(-1, *_shape(spec))


K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BoundedCache(Generic[K, V]):
    """Values of known sizes, of which those that were not used for longest are forgotten where all take too much.

    The newest is kept whatever it takes. Safe to share between threads, and after a fork.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes, self._total = most_bytes, 0
        self._values: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._lock = ForkSafeLock()

    def __contains__(self, key: K) -> bool:
        return key in self._values

    def get(self, key: K) -> V | None:
        """The value of a key, which counts as used; None where it is not kept."""
        with self._lock:
            found = self._values.get(key)
            if found is None:
                return None
            self._values.move_to_end(key)
            return found[0]

    def take(self, key: K) -> V | None:
        """The value of a key, which is not kept any longer; None where it was not."""
        with self._lock:
            found = self._values.pop(key, None)
            if found is None:
                return None
            self._total -= found[1]
            return found[0]

    def put(self, key: K, value: V, size: int) -> None:
        """Keep a value of so many bytes, in place of any other of that key."""
        with self._lock:
            before = self._values.pop(key, None)
            self._total += size - (before[1] if before else 0)
            self._values[key] = value, size
            while self._total > self.most_bytes and len(self._values) > 1:
                self._total -= self._values.popitem(last=False)[1][1]
