"""The learned predictor's network in integers: the same result on every machine, in any order of summation.

Weights and activations are small integers held in float32, so that a matrix product runs at the speed of the machine's
BLAS. It is exact because every partial sum stays below 2^24, which `IntegerLayer` proves from the weights when a model
is loaded; scaling by powers of two and rounding down are exact as well. (Balle et al. 2019, "Integer Networks for Data
Compression with Latent-Variable Models", section 4, with shifts in place of divisions.)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pacodec import limits
from pacodec.entropy import Integers
from pacodec.errors import CorruptFileError
from pacodec.predictors.passes import PASSES

UNKNOWN, EDGE = 256, 257
"""Rows of the embedding for a code that is not decoded yet, and for what lies beyond the border."""
EMBEDDED = 258
CODES = 256
MAX_RADIUS = 8
MAX_EMBEDDING = 32
MAX_HIDDEN = 1024
MAX_LAYERS = 8
MAX_INPUTS = 8192
MAX_HISTORY = 8
MAX_HOLD = 256

EXACT = 1 << 24
"""Integers up to here are exact in float32."""
_MAX_SHIFT = 30
MAX_ACTIVATION = 255
MAX_EMBEDDED = 128

Reals = NDArray[np.float32]
"""Integers held in float32."""


@dataclass(frozen=True)
class Geometry:
    """What the network looks at, and where. A model's hyperparameters; CorruptFileError or LimitError if absurd."""

    radii: tuple[int, ...]
    """Of the square windows into this grid, the last, the one before and so on back, and the background."""
    dilation: int
    """Pixels this close to a recent change are attended to."""
    history: int
    """Grids back in which a change is recent."""
    hold: int
    """Grids that a code must have stayed to become background."""
    embedding: int
    hidden: int
    layers: int
    """Hidden layers after the first."""

    @classmethod
    def from_hyperparameters(cls, values: Mapping[str, Any]) -> Self:
        """Of a model file's metadata, which is untrusted."""
        bounds = {
            "dilation": MAX_RADIUS,
            "history": MAX_HISTORY,
            "hold": MAX_HOLD,
            "embedding": MAX_EMBEDDING,
            "hidden": MAX_HIDDEN,
            "layers": MAX_LAYERS,
        }
        radii = values.get("radii")
        if not isinstance(radii, list) or not all(_within(r, 0, MAX_RADIUS) for r in radii):
            raise CorruptFileError(f"the model's windows {radii!r} are not radii of 0..{MAX_RADIUS}")
        if not 4 <= len(radii) <= 3 + MAX_HISTORY:
            raise CorruptFileError(f"the model looks at {len(radii)} grids, allowed are 4 to {3 + MAX_HISTORY}")
        for name, most in bounds.items():
            least = 0 if name == "layers" else 1
            if not _within(values.get(name), least, most):
                raise CorruptFileError(f"the model's {name} {values.get(name)!r} is not in {least}..{most}")
        if values.get("passes") != PASSES:
            raise CorruptFileError(f"the model codes a grid in {values.get('passes')!r} passes instead of {PASSES}")
        geometry = cls(radii=tuple(radii), **{name: values[name] for name in bounds})
        limits.check("the model's inputs", geometry.inputs, MAX_INPUTS)
        return geometry

    @property
    def inputs(self) -> int:
        """Numbers that describe one pixel."""
        return sum((2 * r + 1) ** 2 for r in self.radii) * self.embedding

    @property
    def inputs_now(self) -> int:
        """Those of them that come first and show the grid being coded."""
        return (2 * self.radii[0] + 1) ** 2 * self.embedding


class IntegerLayer:
    """`floor((W x + bias) * 2^-shift)` of integers, with a shift a row."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], name: str, shape: tuple[int, int], biases: int, most: int):
        """`shape`: rows and columns of W; `biases`: how many sets of biases; `most`: the largest |x|.

        Raises CorruptFileError where an array is missing, of the wrong type or shape, or where a sum could pass 2^24.
        """
        rows, columns = shape
        weight = _array(arrays, f"{name}.weight", np.int8, (rows, columns)).astype(np.int64)
        bias = _array(arrays, f"{name}.bias", np.int32, (biases, rows) if biases > 1 else (rows,)).astype(np.int64)
        shift = _array(arrays, f"{name}.shift", np.int8, (rows,)).astype(np.int64)
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


class IntegerNetwork:
    """From what is known around a pixel to what its code will be."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], geometry: Geometry) -> None:
        """`arrays`: a model file's. CorruptFileError where they do not make a network that is exact."""
        self.geometry = g = geometry
        self.embedding = _array(arrays, "embedding", np.int8, (EMBEDDED, g.embedding))
        self._first = IntegerLayer(arrays, "first", (g.hidden, g.inputs), PASSES, MAX_EMBEDDED)
        self._hidden = [
            IntegerLayer(arrays, f"hidden{k + 1}", (g.hidden, g.hidden), 1, MAX_ACTIVATION) for k in range(g.layers)
        ]
        self._gate = IntegerLayer(arrays, "gate", (1, g.hidden), 1, MAX_ACTIVATION)
        self._codes = IntegerLayer(arrays, "codes", (CODES, g.hidden), 1, MAX_ACTIVATION)

    def products(self, inputs: Reals, start: int) -> Reals:
        """What some of the inputs, those from `start` on, float32 [n, some], add to the first layer of n pixels."""
        return self._first.products(inputs, start)

    def hidden(self, products: Reals, order: int) -> Reals:
        """The last hidden layer of n pixels of a pass, float32 [n, hidden], of the sum of their products."""
        y = _activate(self._first.finish(products, order))
        for layer in self._hidden:
            y = _activate(layer.finish(layer.products(y)))
        return y

    def gate(self, hidden: Reals) -> Integers:
        """Log-odds (1/256) that a pixel's code is the last grid's, int64 [n]."""
        return self._gate.finish(self._gate.products(hidden))[:, 0].astype(np.int64)

    def codes(self, hidden: Reals) -> Integers:
        """Log-weights (1/256) of each code, given that it is not the last grid's, int64 [n, 256]."""
        return self._codes.finish(self._codes.products(hidden)).astype(np.int64)


def largest_sum(weight: Integers, bias: Integers, most: int) -> int:
    """What a partial sum of a layer can reach: weight [rows, columns], bias [sets, rows], inputs of at most `most`."""
    return int((np.abs(weight).sum(1) * most + np.abs(bias).max(0)).max(initial=0))


def _activate(y: Reals) -> Reals:
    np.maximum(y, 0, out=y)
    return np.minimum(y, MAX_ACTIVATION, out=y)


def _array(
    arrays: Mapping[str, NDArray[Any]], name: str, dtype: type[np.generic], shape: tuple[int, ...]
) -> NDArray[Any]:
    values = arrays.get(name)
    if values is None or values.dtype != dtype or values.shape != shape:
        found = "missing" if values is None else f"{values.dtype} {list(values.shape)}"
        raise CorruptFileError(f"the model's {name} is {found} instead of {np.dtype(dtype)} {list(shape)}")
    return values


def _within(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
