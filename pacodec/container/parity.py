"""Bytes in blocks of equal length, and beside them the exclusive or of all: so stored, one damaged place costs nothing.

The last blocks are filled up with zeros that are not stored. A block that is damaged is the exclusive or of the others
and of the parity; which one it is, a checksum of the whole tells.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

BLOCKS = 32


def parity_bytes(size: int) -> int:
    """Bytes of the parity of `size` bytes."""
    return -(-size // BLOCKS)


def parity_of(data: bytes) -> bytes:
    """The exclusive or of the blocks of some bytes."""
    return bytes(np.bitwise_xor.reduce(_blocks(data), axis=0).tobytes())


def repaired(data: bytes, parity: bytes, is_right: Callable[[bytes], bool]) -> bytes | None:
    """What `data` were before one block of them was damaged; None where no block makes them right."""
    blocks = _blocks(data)
    missing = np.bitwise_xor.reduce(blocks, axis=0) ^ np.frombuffer(parity, np.uint8)
    for block in blocks:
        block ^= missing
        candidate = blocks.tobytes()[: len(data)]
        if is_right(candidate):
            return candidate
        block ^= missing
    return None


def _blocks(data: bytes) -> NDArray[np.uint8]:
    """uint8 [BLOCKS, n], filled up with zeros."""
    length = parity_bytes(len(data))
    padded = np.zeros(BLOCKS * length, np.uint8)
    padded[: len(data)] = np.frombuffer(data, np.uint8)
    return padded.reshape(BLOCKS, length)
