"""A layer of a network in integers: the same result on every machine, in any order of summation.

Weights and activations are small integers held in float32, so that a matrix product runs at the speed of the machine's
BLAS. It is exact because every partial sum stays below 2^24, which `IntegerLayer` proves from the weights when a model
is loaded; scaling by powers of two and rounding down are exact as well. (Balle et al. 2019, "Integer Networks for Data
Compression with Latent-Variable Models", section 4, with shifts in place of divisions.)
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacodec.errors import CorruptFileError

EXACT = 1 << 24
"""Integers up to here are exact in float32."""
MAX_ACTIVATION = 255
_MAX_SHIFT = 30

Integers = NDArray[np.int64]
Reals = NDArray[np.float32]
"""Integers held in float32."""


class IntegerLayer:
    """`floor((W x + bias) * 2^-shift)` of integers, with a shift a row."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], name: str, shape: tuple[int, int], biases: int, most: int):
        """`shape`: rows and columns of W; `biases`: how many sets of biases; `most`: the largest |x|.

        Raises CorruptFileError where an array is missing, of the wrong type or shape, or where a sum could pass 2^24.
        """
        rows, columns = shape
        weight = integers(arrays, f"{name}.weight", np.int8, (rows, columns)).astype(np.int64)
        bias = integers(arrays, f"{name}.bias", np.int32, (biases, rows) if biases > 1 else (rows,)).astype(np.int64)
        shift = integers(arrays, f"{name}.shift", np.int8, (rows,)).astype(np.int64)
        if shift.min(initial=0) < 0 or shift.max(initial=0) > _MAX_SHIFT:
            raise CorruptFileError(f"the model's {name}.shift is not in 0..{_MAX_SHIFT}")
        bias = bias.reshape(biases, rows)
        if largest_sum(weight, bias, most) >= EXACT:
            raise CorruptFileError(f"the model's layer {name} can leave the integers that are exact in float32")
        self._weight = np.ascontiguousarray(weight.T.astype(np.float32))
        self._bias = bias.astype(np.float32)
        self._scale = np.exp2(-shift.astype(np.float32)).astype(np.float32)

    def products(self, x: Reals, start: int = 0) -> Reals:
        """W x for some of the columns, those from `start` on, float32 [n, rows] of float32 [n, some]."""
        y: Reals = x @ self._weight[start : start + x.shape[1]]
        return y

    def finish(self, products: Reals, which: int = 0) -> Reals:
        """The layer's result of all its products, whose memory it takes."""
        products += self._bias[which]
        products *= self._scale
        return np.floor(products, out=products)


def largest_sum(weight: Integers, bias: Integers, most: int) -> int:
    """What a partial sum of a layer can reach: weight [rows, columns], bias [sets, rows], inputs of at most `most`."""
    return int((np.abs(weight).sum(1) * most + np.abs(bias).max(0)).max(initial=0))


def activate(y: Reals) -> Reals:
    """Sums cut off to 0 .. 255, in place."""
    np.maximum(y, 0, out=y)
    return np.minimum(y, MAX_ACTIVATION, out=y)


def integers(
    arrays: Mapping[str, NDArray[Any]], name: str, dtype: type[np.generic], shape: tuple[int, ...]
) -> NDArray[Any]:
    """The array of that name; CorruptFileError where it is missing, or of another type or shape."""
    values = arrays.get(name)
    if values is None or values.dtype != dtype or values.shape != shape:
        found = "missing" if values is None else f"{values.dtype} {list(values.shape)}"
        raise CorruptFileError(f"the model's {name} is {found} instead of {np.dtype(dtype)} {list(shape)}")
    return values
