"""A post-filter: what the nearest colours of a noisy picture lack, guessed from the picture that they make.

The decoder half of a vector-quantized autoencoder whose codes are as fine as the picture (van den Oord et al. 2017,
"Neural Discrete Representation Learning"), as a correction of the colours that the codes name: a small residual
network of 3x3 convolutions on 2x2 pixels at a time, in integers (see `integer_layer`), so that all machines see the
same pixels. Of a sequence of pictures, only what changes is computed again, which gives the same result.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from pacodec import limits
from pacodec.common.media import Pictures
from pacodec.errors import CorruptFileError
from pacodec.transforms.integer_layer import MAX_ACTIVATION, IntegerLayer, Reals, activate

FOLD = 2
"""Pixels of a side that are taken together."""
NUMBERS = 3 * FOLD * FOLD
"""Of such a group: for each channel its rows one after the other."""
MIDDLE = 128
"""The level that is zero for the network."""
MAX_WIDTH = 128
MAX_BLOCKS = 4
POSTFILTER = "postfilter"
"""The model's hyperparameter that holds the shape, and what the names of the tensors begin with."""
TILE_SIDE = 128
"""Groups of a side of what is computed at once: its memory is that of all layers."""
GATHERED_GROUPS = 4096
"""Groups whose surroundings are gathered at a time."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Shape:
    """How large the network is. A model's hyperparameter; CorruptFileError or LimitError if absurd."""

    width: int
    """Numbers of each group of pixels between the layers."""
    blocks: int
    """Residual blocks of two convolutions."""

    @classmethod
    def from_hyperparameter(cls, value: object) -> Self:
        """The shape that a model file's metadata give, which are untrusted."""
        if not isinstance(value, list) or len(value) != 2 or not all(type(number) is int for number in value):
            raise CorruptFileError("the model's post-filter is not a width and a number of blocks")
        width, blocks = value
        limits.check("the width of the model's post-filter", width, MAX_WIDTH, least=1)
        limits.check("the blocks of the model's post-filter", blocks, MAX_BLOCKS)
        return cls(width, blocks)

    @property
    def reach(self) -> int:
        """Groups in each direction that a group's result depends on."""
        return 2 + 2 * self.blocks

    @property
    def memory(self) -> int:
        """Bytes that filtering takes beside the pictures, about."""
        side = TILE_SIDE + 2 * self.reach + 2
        return 4 * (
            side * side * (2 * NUMBERS + (1 + 2 * self.blocks) * self.width) + 2 * GATHERED_GROUPS * 9 * self.width
        )


class PostFilter:
    """Corrects pictures of palette colours."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], shape: Shape) -> None:
        """`arrays`: a model file's. CorruptFileError where they do not make a network that is exact, LimitError where
        that takes more memory than is allowed.
        """
        limits.check_memory("the model's post-filter", shape.memory)
        self._shape = shape
        inside, groups = (shape.width, 9 * shape.width), 9 * NUMBERS
        self._first = IntegerLayer(arrays, f"{POSTFILTER}.first", (shape.width, groups), 1, MIDDLE)
        self._blocks = [
            tuple(
                IntegerLayer(arrays, f"{POSTFILTER}.block{number}.{half}", inside, 1, MAX_ACTIVATION) for half in "ab"
            )
            for number in range(1, shape.blocks + 1)
        ]
        self._last = IntegerLayer(arrays, f"{POSTFILTER}.last", (NUMBERS, 9 * shape.width), 1, MAX_ACTIVATION)

    def filter(self, pictures: Pictures) -> Pictures:
        """What was probably meant, uint8 [n, H, W, 3] of the same; cheap where pictures are like those before them."""
        height, width = pictures.shape[1:3]
        even = of_even_sides(pictures)
        filtered = np.empty_like(even)
        rows, columns = even.shape[1] // FOLD, even.shape[2] // FOLD
        reach = self._shape.reach
        for top in range(0, rows, TILE_SIDE):
            for left in range(0, columns, TILE_SIDE):
                above, before = max(top - reach, 0), max(left - reach, 0)
                seen = _pixels(above, top + TILE_SIDE + reach), _pixels(before, left + TILE_SIDE + reach)
                kept = _pixels(top - above, top - above + TILE_SIDE), _pixels(left - before, left - before + TILE_SIDE)
                for number, tile in enumerate(self._run(even[:, seen[0], seen[1]])):
                    filtered[number, _pixels(top, top + TILE_SIDE), _pixels(left, left + TILE_SIDE)] = tile[kept]
        return np.ascontiguousarray(filtered[:, :height, :width])

    def _run(self, pictures: Pictures) -> Iterator[Pictures]:
        """Pictures of even sides, uint8 [n, H, W, 3], filtered one after the other."""
        rows, columns = pictures.shape[1] // FOLD, pictures.shape[2] // FOLD
        width = self._shape.width
        planes = [_Plane(rows, columns, NUMBERS)]
        planes += [_Plane(rows, columns, width) for _ in range(1 + 2 * len(self._blocks))]
        corrections = _Plane(rows, columns, NUMBERS)
        for number, picture in enumerate(pictures):
            fresh = number == 0
            changed = planes[0].show(_folded(picture))
            changed = self._convolve(self._first, planes[0], planes[1], _around(changed) | fresh)
            for (first, second), block in zip(self._blocks, range(1, len(planes) - 1, 2), strict=True):
                source, inner, target = planes[block : block + 3]
                moved = self._convolve(first, source, inner, _around(changed) | fresh)
                changed = self._convolve(second, inner, target, _around(moved) | changed | fresh, source)
            self._convolve(self._last, planes[-1], corrections, _around(changed) | fresh, linear=True)
            yield (picture + _unfolded(corrections.inside)).clip(0, 255).astype(np.uint8)

    def _convolve(
        self,
        layer: IntegerLayer,
        source: "_Plane",
        target: "_Plane",
        places: Mask,
        add: "_Plane | None" = None,
        linear: bool = False,
    ) -> Mask:
        """Compute the target anew at some places, bool [h, w]; where it is now another."""
        changed = np.zeros(places.shape, np.bool_)
        flat = np.flatnonzero(places)
        for at in range(0, len(flat), GATHERED_GROUPS):
            y, x = np.divmod(flat[at : at + GATHERED_GROUPS], places.shape[1])
            values = layer.finish(layer.products(source.windows(y, x)))
            if add is not None:
                values += add.inside[y, x]
            if linear:
                np.clip(values, -255, 255, out=values)
            else:
                activate(values)
            changed[y, x] = (values != target.inside[y, x]).any(1)
            target.inside[y, x] = values
        return changed


class _Plane:
    """A layer's result, float32 [h, w, c] inside a border of zeros."""

    def __init__(self, rows: int, columns: int, numbers: int) -> None:
        self._values = np.zeros((rows + 2, columns + 2, numbers), np.float32)
        self.inside = self._values[1:-1, 1:-1]
        down, right, one = self._values.strides
        shape = (rows, columns, 3, 3 * numbers)
        self._views = as_strided(self._values, shape, (down, right, down, one), writeable=False)

    def show(self, values: NDArray[np.float32]) -> Mask:
        """Take new values [h, w, c]; where they differ from the old ones."""
        changed: Mask = (values != self.inside).any(2)
        self.inside[...] = values
        return changed

    def windows(self, y: NDArray[np.int64], x: NDArray[np.int64]) -> Reals:
        """The 3x3 surroundings of n places, float32 [n, 9 * c]."""
        gathered: Reals = self._views[y, x].reshape(len(y), -1)
        return gathered


def of_even_sides(pictures: Pictures) -> Pictures:
    """uint8 [n, H, W, 3] with a last row, then a last column, repeated where there is an odd number of them."""
    height, width = pictures.shape[1:3]
    return np.pad(pictures, ((0, 0), (0, -height % FOLD), (0, -width % FOLD), (0, 0)), mode="edge")


def _pixels(start: int, stop: int) -> slice:
    return slice(start * FOLD, stop * FOLD)


def _around(mask: Mask) -> Mask:
    """The places next to those of a mask, and those."""
    wide = np.pad(mask, 1)
    rows = wide[:-2] | wide[1:-1] | wide[2:]
    grown: Mask = rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]
    return grown


def _folded(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 [H, W, 3] to float32 [H / 2, W / 2, 12], less `MIDDLE`."""
    height, width = picture.shape[:2]
    groups = picture.reshape(height // FOLD, FOLD, width // FOLD, FOLD, 3).transpose(0, 2, 4, 1, 3)
    return groups.reshape(height // FOLD, width // FOLD, NUMBERS).astype(np.float32) - np.float32(MIDDLE)


def _unfolded(values: NDArray[np.float32]) -> NDArray[np.int16]:
    """float32 [h, w, 12] to int16 [2 h, 2 w, 3]."""
    rows, columns = values.shape[:2]
    groups = values.astype(np.int16).reshape(rows, columns, 3, FOLD, FOLD).transpose(0, 3, 1, 4, 2)
    return groups.reshape(rows * FOLD, columns * FOLD, 3)
