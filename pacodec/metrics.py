"""How far pictures are from their originals."""

import numpy as np
from numpy.typing import NDArray

from pacodec.transforms.base import Pictures

LOSSLESS_PSNR = 100.0
"""What an exact frame counts as, in dB, so that means stay finite."""


def psnr(original: Pictures, decoded: Pictures) -> NDArray[np.float64]:
    """PSNR in dB of each frame of uint8 [n, H, W, 3] over all its RGB values, peak 255; `LOSSLESS_PSNR` where exact."""
    errors = original.astype(np.int16) - decoded
    mean = np.square(errors, dtype=np.int32).mean((1, 2, 3), dtype=np.float64)
    with np.errstate(divide="ignore"):
        return np.asarray(np.minimum(10 * np.log10(255**2 / mean), LOSSLESS_PSNR), np.float64)
