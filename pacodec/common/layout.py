"""Arrays of any shape as pictures and back: where each value of an observation stands in the picture that is coded."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pacodec import limits
from pacodec.common.media import Image
from pacodec.errors import UsageError

MAX_LAST_CHANNELS = 16
"""A last axis up to that long, and shorter than the two before it, holds the planes of a picture."""


@dataclass(frozen=True)
class ArrayLayout:
    """Where the values of uint8 arrays of one shape stand in an RGB picture.

    [H, W] is a grey picture, [H, W, 3] an RGB one, [N] a grey row. What has more axes is many pictures, which are laid
    out row by row in a rectangle that is about square: [..., H, W, 3] of RGB, [H, W, C] with 1 to 16 planes C, and
    [..., H, W], of grey. The rest of the rectangle is black.

    Raises UsageError for a shape without values or of more than 8 axes, LimitError where the picture is too large.
    """

    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if not math.prod(self.shape) or len(self.shape) > limits.MAX_DIMENSIONS:
            raise UsageError(
                f"frames of shape {self.shape} cannot be stored: at most {limits.MAX_DIMENSIONS} axes, none empty"
            )
        limits.check("width", self.width, limits.MAX_SIDE)
        limits.check("height", self.height, limits.MAX_SIDE)
        limits.check("pixels of a frame", self.width * self.height, limits.MAX_PIXELS)

    @property
    def grey(self) -> bool:
        """Whether the three channels of its pictures are equal."""
        return len(self.shape) < 3 or self.shape[-1] != 3

    @property
    def height(self) -> int:
        """Of the picture, in pixels."""
        return self._grid[0] * self._cell[0]

    @property
    def width(self) -> int:
        """Of the picture, in pixels."""
        return self._grid[1] * self._cell[1]

    def to_picture(self, array: NDArray[np.uint8]) -> Image:
        """An array uint8 [*shape] as a picture uint8 [height, width, 3], which may share memory with it."""
        (height, width), (rows, columns) = self._cell, self._grid
        channels = 1 if self.grey else 3
        planes = np.moveaxis(array, -1, -3) if self._planes_last else array
        cells = planes.reshape(-1, height, width, channels)
        if spare := rows * columns - len(cells):
            cells = np.concatenate([cells, np.zeros((spare, *cells.shape[1:]), np.uint8)])
        laid = cells.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
        picture = laid.reshape(rows * height, columns * width, channels)
        return np.repeat(picture, 3, axis=2) if self.grey else np.ascontiguousarray(picture)

    def to_arrays(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Pictures uint8 [n, height, width, 3] back to arrays uint8 [n, *shape]."""
        (height, width), (rows, columns) = self._cell, self._grid
        values = pictures[..., :1] if self.grey else pictures
        laid = values.reshape(len(values), rows, height, columns, width, -1).swapaxes(2, 3)
        cells = laid.reshape(len(values), rows * columns, -1)[:, : self._cells]
        if not self._planes_last:
            return cells.reshape(len(values), *self.shape)
        moved = (*self.shape[:-3], self.shape[-1], *self.shape[-3:-1])
        return np.ascontiguousarray(np.moveaxis(cells.reshape(len(values), *moved), -3, -1))

    @cached_property
    def _planes_last(self) -> bool:
        if len(self.shape) < 3 or not self.grey:
            return False
        return self.shape[-1] <= MAX_LAST_CHANNELS and self.shape[-1] < min(self.shape[-3:-1])

    @cached_property
    def _cell(self) -> tuple[int, int]:
        """Height and width of one picture of those that are laid out."""
        last = 1 if self._planes_last or not self.grey else 0
        axes = (1, 1, *self.shape[: len(self.shape) - last])
        return axes[-2], axes[-1]

    @cached_property
    def _cells(self) -> int:
        height, width = self._cell
        return math.prod(self.shape) // (height * width * (1 if self.grey else 3))

    @cached_property
    def _grid(self) -> tuple[int, int]:
        """Rows and columns of the rectangle."""
        height, width = self._cell
        columns = min(self._cells, max(1, math.ceil(math.sqrt(self._cells * height / width))))
        return -(-self._cells // columns), columns
