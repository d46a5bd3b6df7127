"""Structural similarity of pictures in RGB: SSIM and MS-SSIM."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pacodec.common.media import Image

WINDOW, SIGMA = 11, 1.5
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of MS-SSIM's five scales (Wang, Simoncelli, Bovik 2003), finest first."""
Plane = NDArray[np.floating[Any]]
"""float32 [H, W, 3]."""
_KERNEL = cv2.getGaussianKernel(WINDOW, SIGMA).astype(np.float32)


def similarity(original: Image, picture: Image) -> tuple[float, float]:
    """SSIM and MS-SSIM of one frame, uint8 [H, W, 3]."""
    # A side smaller than the window is mirrored up to it.
    grow = [(0, max(0, WINDOW - side)) for side in original.shape[:2]]
    a, b = (np.pad(x, (*grow, (0, 0)), "symmetric").astype(np.float32) for x in (original, picture))
    scales = sum(min(a.shape[:2]) >> scale >= WINDOW for scale in range(len(SCALE_WEIGHTS)))
    products, structures = [], []
    for _ in range(scales):
        luminance, structure = _terms(a, b)
        products.append((luminance * structure).mean((0, 1)))
        structures.append(structure.mean((0, 1)))
        a, b = _halve(a), _halve(b)
    weights = np.array(SCALE_WEIGHTS[:scales])
    factors = np.maximum([*structures[:-1], products[-1]], 0)
    multi = np.prod(factors ** (weights / weights.sum())[:, None], axis=0)
    return float(products[0].mean()), float(multi.mean())


def _terms(a: Plane, b: Plane) -> tuple[Plane, Plane]:
    """SSIM's luminance term, and its contrast and structure term, wherever the whole window fits."""
    mean_a, mean_b = _blur(a), _blur(b)
    product, squares = mean_a * mean_b, mean_a * mean_a + mean_b * mean_b
    structure = (2 * (_blur(a * b) - product) + C2) / (_blur(a * a + b * b) - squares + C2)
    return (2 * product + C1) / (squares + C1), structure


def _blur(x: Plane) -> Plane:
    edge = WINDOW // 2
    return np.asarray(cv2.sepFilter2D(x, -1, _KERNEL, _KERNEL)[edge:-edge, edge:-edge], np.float32)


def _halve(x: Plane) -> Plane:
    height, width = x.shape[0] // 2 * 2, x.shape[1] // 2 * 2
    size = width // 2, height // 2
    return np.asarray(cv2.resize(x[:height, :width], size, interpolation=cv2.INTER_AREA), np.float32)
