"""Code grids: what passes between transforms and predictors."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Grids = NDArray[np.uint8]
"""Codes of n frames, uint8 [n, C, h, w]."""


@dataclass(frozen=True)
class GridSpec:
    """Shape and nature of a code grid.

    `ordinal` says that neighbouring code values mean similar things (quantized latents); otherwise a code is a bare
    label (palette indices).
    """

    channels: int
    height: int
    width: int
    ordinal: bool

    @property
    def size(self) -> int:
        """The number of codes of one frame."""
        return self.channels * self.height * self.width
