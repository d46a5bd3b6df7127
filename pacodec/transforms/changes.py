"""Where one picture, or one code grid, differs from another: what stays need not be worked on again."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 8
"""Pixels of a side of the blocks that changes are counted in."""


def changed_rows(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which rows differ of two arrays uint8 [H, ...] of one shape, bool [H]."""
    return np.asarray(_differing(before, after).any(1), np.bool_)


def changed_pixels(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> int:
    """Pixels of the 8x8 blocks that differ of two pictures uint8 [H, W, C] of one size; 0 where they are equal."""
    height, width, channels = before.shape
    differing = _differing(before, after)
    columns = max(1, BLOCK * differing.shape[1] // width) if width % BLOCK == 0 else channels * BLOCK  # of a block
    rows = differing.any(1)
    if not rows.any():
        return 0
    block_rows = np.asarray(np.logical_or.reduceat(rows, np.arange(0, height, BLOCK)), np.bool_)
    kept = np.flatnonzero(block_rows) * BLOCK
    count = 0
    starts = np.arange(0, differing.shape[1], columns)
    for top in kept:
        row = np.logical_or.reduce(differing[top : top + BLOCK], axis=0)
        count += int(np.count_nonzero(np.logical_or.reduceat(row, starts)))
    return min(count * BLOCK * BLOCK, int(height * width))


def _differing(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where two arrays [H, ...] differ, bool [H, n], in words of 8 bytes where a row is made of such."""
    one, other = (_words(np.ascontiguousarray(values)) for values in (before, after))
    return np.asarray(one != other, np.bool_)


def _words(values: NDArray[np.uint8]) -> NDArray[Any]:
    rows = values.reshape(len(values), -1)
    return rows.view(np.uint64) if rows.shape[1] % 8 == 0 else rows
