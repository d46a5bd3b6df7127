"""Pictures with the times at which they are shown, as torchcodec's decoder gives them."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pacodec.common.media import Pictures
from pacodec.errors import UsageError

DimensionOrder = Literal["NHWC", "NCHW"]
"""Channels last, as pictures are stored, or channels first."""


class _Shown:
    """What is printed of pictures and their times."""

    data: Any

    def __repr__(self) -> str:
        values = (f"{each.name}={getattr(self, each.name)}" for each in fields(self)[1:])  # type: ignore[arg-type]
        return f"{type(self).__name__}(data of shape {tuple(self.data.shape)}, {', '.join(values)})"


@dataclass(frozen=True, repr=False, eq=False)
class Frame(_Shown):
    """One picture.

    data: uint8 [H, W, 3] or [3, H, W], a numpy array or a torch tensor. pts_seconds, duration_seconds: when it begins
    to be shown, and for how long.
    """

    data: Any
    pts_seconds: float
    duration_seconds: float

    def __iter__(self) -> Iterator[Any]:
        return (getattr(self, each.name) for each in fields(self))


@dataclass(frozen=True, repr=False, eq=False)
class FrameBatch(_Shown):
    """Several pictures; `len`, `[i]` and iteration give parts of it that are a `FrameBatch` themselves.

    data: uint8 [N, H, W, 3] or [N, 3, H, W], a numpy array or a torch tensor. pts_seconds, duration_seconds: float64
    [N] of the same kind.
    """

    data: Any
    pts_seconds: Any
    duration_seconds: Any

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, key: Any) -> "FrameBatch":
        return FrameBatch(self.data[key], self.pts_seconds[key], self.duration_seconds[key])

    def __iter__(self) -> Iterator["FrameBatch"]:
        return (self[number] for number in range(len(self)))


@dataclass(frozen=True)
class FrameLayout:
    """How pictures are handed out. UsageError for an order that is none."""

    dimension_order: DimensionOrder = "NHWC"
    as_torch: bool = False

    def __post_init__(self) -> None:
        if self.dimension_order not in ("NHWC", "NCHW"):
            raise UsageError(f"the dimension order {self.dimension_order!r} is neither NHWC nor NCHW")

    def pictures(self, pictures: Pictures) -> Any:
        """uint8 [..., H, W, 3] in this layout, without a copy."""
        ordered = pictures if self.dimension_order == "NHWC" else np.moveaxis(pictures, -1, -3)
        return self._array(ordered)

    def batch(self, pictures: Pictures, pts: NDArray[np.float64], durations: NDArray[np.float64]) -> FrameBatch:
        """Pictures, uint8 [N, H, W, 3], and their times in seconds, float64 [N]."""
        return FrameBatch(self.pictures(pictures), self._array(pts), self._array(durations))

    def _array(self, array: NDArray[Any]) -> Any:
        if not self.as_torch:
            return array
        import torch

        return torch.from_numpy(array)
