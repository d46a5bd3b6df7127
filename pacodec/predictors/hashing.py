"""Context hashes: small integers to table slots."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

_GOLDEN = 0x9E3779B97F4A7C15
_SPREAD = np.uint64(0xD1B54A32D192ED03)


def scramble(values: Hashes) -> Hashes:
    """A one-to-one mixing of 64-bit integers, so that any of the result's lower bits index a table."""
    mixed = values ^ (values >> np.uint64(31))
    mixed *= _SPREAD
    mixed ^= mixed >> np.uint64(29)
    return mixed


def write_last(table: NDArray[Any], slots: NDArray[np.int64], values: NDArray[Any]) -> None:
    """table[slots] = values, where of those that share a slot the last one stays, whatever order numpy writes in."""
    # unique() returns first occurrences, and these are reversed.
    distinct, first = np.unique(slots[::-1], return_index=True)
    table[distinct] = values[::-1][first]


def salts(n: int) -> Hashes:
    """n well spread odd 64-bit constants, uint64 [n]: multipliers that tell fields apart."""
    return np.array([((k + 1) * _GOLDEN & (1 << 64) - 1) | 1 for k in range(n)], np.uint64)
