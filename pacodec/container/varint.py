"""Varints (LEB128, at most 63 bits) and zigzag: columns of small integers as bytes, vectorized."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pacodec.errors import CorruptFileError

Ints = NDArray[np.int64]

MAX_VARINT_BYTES = 9
"""Nine groups of seven bits: every varint fits an int64."""


def encode_varints(values: Sequence[int] | Ints) -> bytes:
    """The varints of `values` (each 0 to 2^63 - 1), least significant group first."""
    column = np.asarray(values, np.int64).astype(np.uint64)
    shifts = np.arange(0, 7 * MAX_VARINT_BYTES, 7, dtype=np.uint64)
    rest = column[:, None] >> shifts
    groups = (rest & np.uint64(0x7F)).astype(np.uint8)
    groups[:, :-1] |= np.where(rest[:, 1:] > 0, 0x80, 0).astype(np.uint8)
    used = rest > 0
    used[:, 0] = True
    return groups[used].tobytes()


def decode_varints(data: bytes, most: int) -> Ints:
    """All varints of `data`, int64 [n]; CorruptFileError for one that is cut or over 63 bits, or more than `most`."""
    raw = np.frombuffer(data, np.uint8)
    ends = raw < 0x80
    # Before the columns below take fifty times the memory of the bytes.
    if np.count_nonzero(ends) > most:
        raise CorruptFileError(f"more than {most} variable-length integers")
    last = np.flatnonzero(ends)
    if raw.size and (last.size == 0 or last[-1] != raw.size - 1):
        raise CorruptFileError("a variable-length integer is cut short")
    if raw.size == 0:
        return np.zeros(0, np.int64)
    first = np.concatenate(([0], last[:-1] + 1))
    lengths = last - first + 1
    if lengths.max() > MAX_VARINT_BYTES:
        raise CorruptFileError("a variable-length integer is longer than 63 bits")
    shifts = 7 * (np.arange(raw.size) - np.repeat(first, lengths))
    return np.add.reduceat((raw & 0x7F).astype(np.int64) << shifts, first)


def zigzag(values: Ints) -> Ints:
    """Signed to unsigned, small magnitudes first: 0, -1, 1, -2 ... become 0, 1, 2, 3 ... (|value| < 2^62)."""
    return (values << 1) ^ (values >> 63)


def unzigzag(values: Ints) -> Ints:
    """The inverse of `zigzag`."""
    return (values >> 1) ^ -(values & 1)
