"""Square blocks of a plane, aligned to its upper left corner; those at the other edges may reach over it."""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

BLOCK = 8
"""Pixels of a side."""
_T = TypeVar("_T", bound=np.generic)


def in_blocks(plane: NDArray[_T]) -> NDArray[_T]:
    """[h, w] to [rows, BLOCK, columns, BLOCK], zero beyond the plane."""
    height, width = plane.shape
    rows, columns = -(-height // BLOCK), -(-width // BLOCK)
    if plane.shape != (rows * BLOCK, columns * BLOCK):
        padded = np.zeros((rows * BLOCK, columns * BLOCK), plane.dtype)
        padded[:height, :width] = plane
        plane = padded
    return plane.reshape(rows, BLOCK, columns, BLOCK)


def over_blocks(values: NDArray[_T], shape: tuple[Any, ...]) -> NDArray[_T]:
    """A value of each block, [rows, columns], at every pixel of a plane of that shape."""
    return values.repeat(BLOCK, 0).repeat(BLOCK, 1)[: shape[0], : shape[1]]
