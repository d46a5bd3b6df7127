"""A state of the engine, segments of grids that are coded by it, and the interface of all that codes grids."""

import ctypes
import mmap
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from pacodec import limits
from pacodec.common.media import Grids, GridSpec
from pacodec.engine.library import core, general_start
from pacodec.errors import CorruptFileError, LimitError

COST_UNIT = 256
"""Parts of a bit that the engine counts costs in."""
Costs = NDArray[np.uint16]
"""What coding j where i was meant costs, in 1/256 bit, uint16 [256, 256]."""
Spans = NDArray[np.uint16]
"""For how many grids, this one included, each code is meant to stay, uint16 [n, h, w], at most 2^15 - 1; `SPAN_BEGINS`
is added where it is meant from this grid on."""
SPAN_BEGINS = 0x8000
BlockCosts = NDArray[np.uint32]
"""What grids took, in 1/256 bit, uint32 [n, blocks + 1]: the blocks of 8x8 codes row by row, of all channels together,
and last what is of no block."""
BLOCK = 8
"""Codes of a side of the blocks in which the engine codes grids."""
_BATCH_BYTES = 1 << 20
"""Output that is made room for at once; more only where one grid may take it."""


def state_bytes(spec: GridSpec) -> int:
    """Bytes that a state for such grids takes; LimitError where the engine does not take them."""
    size: int = core().pac_state_size(spec.ordinal, spec.channels, spec.height, spec.width)
    if not size:
        raise LimitError(f"the engine does not code grids of {spec.channels}x{spec.height}x{spec.width}")
    return size


def block_count(spec: GridSpec) -> int:
    """How many blocks of 8x8 codes a grid has."""
    return -(-spec.height // BLOCK) * -(-spec.width // BLOCK)


class State:
    """Everything that the engine has learned from the segments it coded or decoded: one block of memory.

    Equal histories give equal bytes, whether a segment was encoded or decoded. Not to be used by two threads at once.
    """

    def __init__(self, spec: GridSpec, memory: mmap.mmap) -> None:
        """A state in `memory`, of `state_bytes(spec)` bytes, which it keeps; `fresh` makes one that knows nothing."""
        self.spec, self._memory = spec, memory
        self.bytes: NDArray[np.uint8] = np.frombuffer(memory, np.uint8)
        """The memory."""
        self.pointer = ctypes.c_void_p(self.bytes.ctypes.data)

    @classmethod
    def empty(cls, spec: GridSpec) -> Self:
        """Memory for a state, not to be used before `assign`; LimitError where it is more than is allowed."""
        size = state_bytes(spec)
        limits.check_memory(f"coding grids of {spec.channels}x{spec.height}x{spec.width}", size)
        return cls(spec, mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))

    @classmethod
    def fresh(cls, spec: GridSpec) -> Self:
        """A state that knows the general start alone; LimitError where it takes more memory than is allowed."""
        state = cls.empty(spec)
        shape = (spec.ordinal, spec.channels, spec.height, spec.width)
        start = general_start()
        if core().pac_state_init(state.pointer, *shape, start, len(start)):
            raise LimitError(f"the engine does not code grids of {spec.channels}x{spec.height}x{spec.width}")
        return state

    def assign(self, other: "State") -> Self:
        """Become a copy of a state for the same grids."""
        ctypes.memmove(self.pointer, other.pointer, len(self.bytes))
        return self

    def forget(self) -> None:
        """Let the system have the memory; the state is not to be used any more."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._memory.madvise(mmap.MADV_DONTNEED)

    def copy(self) -> "State":
        """A state of its own memory that knows the same."""
        return State.empty(self.spec).assign(self)


class SegmentEncoder:
    """Codes a segment: grids in order, each in the light of those before it and of earlier segments of the state."""

    def __init__(self, state: State, costs: Costs | None = None) -> None:
        """`costs`: the engine may code other codes of the first channel where that saves more than it costs."""
        self._state, self._parts = state, list[bytes]()
        self._costs = None if costs is None else np.ascontiguousarray(costs, np.uint16)
        self._bound: int = core().pac_bound(state.pointer)
        self._batch = max(1, _BATCH_BYTES // self._bound)
        self._out = np.empty(self._bound * self._batch, np.uint8)
        self.size = 0
        """Bytes of the segment so far."""
        core().pac_encode_begin(state.pointer)

    def push(self, grids: Grids, spans: Spans | None = None) -> Grids:
        """Take the next n grids, uint8 [n, C, h, w]; what a decoder will give back for them.

        With `spans`, for grids of one channel, costs count for as long as a code is meant to stay.
        """
        coded = np.ascontiguousarray(grids) if self._costs is None else np.array(grids, np.uint8, order="C")
        costs = None if self._costs is None else self._costs.ctypes.data
        for start in range(0, len(coded), self._batch):
            part = coded[start : start + self._batch]
            staying = None if spans is None else np.ascontiguousarray(spans[start : start + self._batch])
            taken = core().pac_encode(
                self._state.pointer,
                part.ctypes.data,
                len(part),
                costs,
                None if staying is None else staying.ctypes.data,
                self._out.ctypes.data,
                len(self._out),
            )
            self._take(taken)
        return coded

    def finish(self) -> bytes:
        """The bytes of all grids pushed. Call once."""
        self._take(core().pac_encode_end(self._state.pointer, self._out.ctypes.data, len(self._out)))
        return b"".join(self._parts)

    def _take(self, count: int) -> None:
        self._parts.append(self._out[:count].tobytes())
        self.size += count


class SegmentDecoder:
    """Decodes a segment of untrusted bytes: damage need not raise, but may also end in other codes."""

    costs: BlockCosts | None = None
    """What each grid of the last `pull` took, where that is kept."""

    def __init__(self, state: State, data: bytes, *, keep_costs: bool = False) -> None:
        self._state, self._data, self._keep_costs = state, data, keep_costs
        if core().pac_decode_begin(state.pointer, data, len(data)):
            raise CorruptFileError("the bytes of a segment are no segment")

    def pull(self, n: int) -> Grids:
        """The next n grids, uint8 [n, C, h, w]; CorruptFileError where the bytes visibly do not hold them."""
        spec = self._state.spec
        grids = np.empty((n, spec.channels, spec.height, spec.width), np.uint8)
        costs = None
        if self._keep_costs:
            self.costs = np.empty((n, block_count(spec) + 1), np.uint32)
            costs = self.costs.ctypes.data
        if core().pac_decode_costs(self._state.pointer, self._data, len(self._data), grids.ctypes.data, n, costs):
            raise CorruptFileError("the bytes of a segment end before its grids")
        return grids

    def finish(self) -> None:
        """Call after the last grid; CorruptFileError where the bytes visibly hold more."""
        if core().pac_decode_end(self._state.pointer, self._data, len(self._data)):
            raise CorruptFileError("the bytes of a segment go on after its last grid")


class GridEncoder(Protocol):
    """Encodes the grids of one GOP, pushed in order."""

    def push(self, grids: Grids) -> Grids:
        """Take the next n grids, uint8 [n, C, h, w], whose memory may be reused after the call; what a decoder will
        give back for them.
        """

    def finish(self) -> bytes:
        """The payload of all grids pushed. Call once."""


class GridDecoder(Protocol):
    """Decodes the grids of one GOP in order.

    Damage need not raise: it may also end in other codes, which is what the container's checksum of the grids is for.
    """

    @property
    def costs(self) -> "BlockCosts | None":
        """What each grid of the last `pull` took, where that is known and kept."""

    def pull(self, n: int) -> Grids:
        """The next n grids, uint8 [n, C, h, w]; CorruptFileError where the payload cannot hold them."""

    def finish(self) -> None:
        """Call after the last grid; CorruptFileError where the payload visibly holds more."""
