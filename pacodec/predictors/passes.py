"""The order in which the pixels of a grid are coded: five passes, each a parallel step that sees those before it.

A quincunx refinement: a sixteenth of the pixels, the sixteenth between them, an eighth, a quarter, a half. The few
pixels of the first passes tell where things moved; in the last one every pixel knows its four neighbours.
"""

import numpy as np
from numpy.typing import NDArray

PASSES = 5
SPACING = (4, 4, 2, 2, 1)
"""Of the pixels of each pass, in a row, rounded down."""


def pass_of(height: int, width: int) -> NDArray[np.uint8]:
    """The pass, 0 .. 4, in which each pixel is coded, uint8 [height, width]."""
    y, x = np.mgrid[:height, :width]
    order = np.full((height, width), 4, np.uint8)
    order[(y % 2 == 1) & (x % 2 == 1)] = 3
    order[(y % 2 == 0) & (x % 2 == 0)] = 2
    order[(y % 4 == 2) & (x % 4 == 2)] = 1
    order[(y % 4 == 0) & (x % 4 == 0)] = 0
    return order
