"""The learned predictor's network, in integers: what it looks at, and what it makes of that."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pacodec import limits
from pacodec.entropy import Integers
from pacodec.errors import CorruptFileError
from pacodec.integer_layer import MAX_ACTIVATION, IntegerLayer, Reals, activate, integers
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

MAX_EMBEDDED = 128


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


class IntegerNetwork:
    """From what is known around a pixel to what its code will be."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], geometry: Geometry) -> None:
        """`arrays`: a model file's. CorruptFileError where they do not make a network that is exact."""
        self.geometry = g = geometry
        self.embedding = integers(arrays, "embedding", np.int8, (EMBEDDED, g.embedding))
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
        y = activate(self._first.finish(products, order))
        for layer in self._hidden:
            y = activate(layer.finish(layer.products(y)))
        return y

    def gate(self, hidden: Reals) -> Integers:
        """Log-odds (1/256) that a pixel's code is the last grid's, int64 [n]."""
        return self._gate.finish(self._gate.products(hidden))[:, 0].astype(np.int64)

    def codes(self, hidden: Reals) -> Integers:
        """Log-weights (1/256) of each code, given that it is not the last grid's, int64 [n, 256]."""
        return self._codes.finish(self._codes.products(hidden)).astype(np.int64)


def _within(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
