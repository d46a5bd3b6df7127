"""Batches of pieces of pictures, beside the same pieces as codes show them: what a post-filter learns from."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pacodec.common.media import Image
from pacodec.training.pairs import Pairs
from pacodec.transforms.postfilter import FOLD, MIDDLE

_BLOCK = 8
"""Pixels of a side of the squares whose errors are compared."""


class Crops:
    """Square pieces of pairs for training, taken where errors are; a pure function of (seed, step)."""

    def __init__(self, pairs: Pairs, palette: NDArray[np.uint8], side: int, seed: int) -> None:
        self._pairs, self._palette, self._seed = pairs, palette, seed
        smallest = min(min(codes.shape) for codes in pairs.codes)
        self._side = max(FOLD, min(side, smallest) // FOLD * FOLD)

    def batch(self, step: int, crops: int) -> tuple[Tensor, Tensor]:
        """Pictures of the palette's colours, and what was meant, both as `as_input` gives them; half of them mirrored.

        Of a picture, a square is as likely as its share of the squared error, with a little for all.
        """
        rng = np.random.default_rng((self._seed, step))
        made = np.empty((2, crops, self._side, self._side, 3), np.uint8)
        for number in range(crops):
            which = int(rng.integers(len(self._pairs)))
            meant = self._pairs.pictures[which]
            shown = self._palette[self._pairs.codes[which]]
            square = self._square(shown, meant, rng)
            mirror = slice(None, None, -1 if rng.random() < 0.5 else 1)
            made[0, number], made[1, number] = shown[square][:, mirror], meant[square][:, mirror]
        return as_input(made[0]), as_input(made[1])

    def _square(self, shown: Image, meant: Image, rng: np.random.Generator) -> tuple[slice, slice]:
        height, width = meant.shape[0] // _BLOCK, meant.shape[1] // _BLOCK
        if not height or not width:
            return slice(self._side), slice(self._side)
        inside = np.s_[: height * _BLOCK, : width * _BLOCK]
        errors = np.square(shown[inside].astype(np.float32) - meant[inside])
        shares = errors.reshape(height, _BLOCK, width, _BLOCK * 3).sum((1, 3), dtype=np.float64).ravel()
        shares += shares.mean() + 1
        row, column = divmod(int(rng.choice(len(shares), p=shares / shares.sum())), width)
        top, left = (
            int(np.clip(at * _BLOCK + _BLOCK // 2 - rng.integers(self._side), 0, size - self._side)) // FOLD * FOLD
            for at, size in zip((row, column), meant.shape[:2], strict=True)
        )
        return slice(top, top + self._side), slice(left, left + self._side)


def as_input(pictures: NDArray[np.uint8]) -> Tensor:
    """uint8 [n, H, W, 3] as the network takes it: float32 [n, 3, H, W] of (level - 128) / 128, channels last."""
    return (torch.from_numpy(pictures).permute(0, 3, 1, 2).float() - MIDDLE) / MIDDLE
