"""Section "`filtered`": pictures corrected by a network of integers, all of each, in plain 64-bit integers."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from independent.model_file import INTEGERS, ModelFile, check_layer
from independent.refusal import bounded, expect
from numpy.typing import NDArray

Integers = NDArray[np.int64]
MAX_WIDTH, MAX_BLOCKS, NUMBERS = 128, 4, 12


class PostFilter:
    """The post-filter of a model."""

    def __init__(self, model: ModelFile) -> None:
        self._tensors: Mapping[str, NDArray[Any]] = model.tensors
        expect(all(t.dtype in INTEGERS for t in self._tensors.values()), "a predictive model is not all of integers")
        shape = model.hyperparameters.get("postfilter")
        expect(isinstance(shape, list) and len(shape) == 2, "the model has no post-filter")
        assert isinstance(shape, list)
        expect(all(type(number) is int for number in shape), "the shape of the post-filter is malformed")
        width = bounded("the width of the post-filter", shape[0], MAX_WIDTH, 1)
        self._blocks = bounded("the blocks of the post-filter", shape[1], MAX_BLOCKS)
        self._check("first", width, 9 * NUMBERS, 128)
        for number in range(1, self._blocks + 1):
            self._check(f"block{number}.a", width, 9 * width, 255)
            self._check(f"block{number}.b", width, 9 * width, 255)
        self._check("last", NUMBERS, 9 * width, 255)

    def correct(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A picture [height, width, 3] to what was meant."""
        height, width = picture.shape[:2]
        p = picture.astype(np.int64)
        if height % 2:
            p = np.concatenate([p, p[-1:]])
        if width % 2:
            p = np.concatenate([p, p[:, -1:]], 1)
        places = [(slice(i, None, 2), slice(j, None, 2), k) for k in range(3) for i in range(2) for j in range(2)]
        z = self._layer("first", np.stack([p[place] - 128 for place in places], -1)).clip(0, 255)
        for number in range(1, self._blocks + 1):
            a = self._layer(f"block{number}.a", z).clip(0, 255)
            z = (self._layer(f"block{number}.b", a) + z).clip(0, 255)
        d = self._layer("last", z).clip(-255, 255)
        for number, place in enumerate(places):
            p[place] = (p[place] + d[:, :, number]).clip(0, 255)
        return p[:height, :width].astype(np.uint8)

    def _layer(self, name: str, x: Integers) -> Integers:
        weight, bias, shift = (
            self._tensors[f"postfilter.{name}.{part}"].astype(np.int64) for part in ("weight", "bias", "shift")
        )
        rows, columns, n = x.shape
        wide = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        y = np.zeros((rows, columns, len(weight)), np.int64)
        for u in range(3):
            for v in range(3):
                at = (3 * u + v) * n
                y += wide[u : u + rows, v : v + columns] @ weight[:, at : at + n].T
        shifted: Integers = (y + bias) >> shift
        return shifted

    def _check(self, name: str, rows: int, columns: int, most: int) -> None:
        check_layer(self._tensors, f"postfilter.{name}", rows, columns, (rows,), most)
