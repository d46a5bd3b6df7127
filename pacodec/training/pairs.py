"""Pictures beside the codes that stand for them."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pacodec.common.media import Image


@dataclass
class Pairs:
    """Pictures, uint8 [H, W, 3], and their codes, uint8 [H, W]: every `every`-th that comes, none where that is 0."""

    every: int = 1
    pictures: list[Image] = field(default_factory=list)
    codes: list[NDArray[np.uint8]] = field(default_factory=list)
    clips: list[int] = field(default_factory=list)
    """Which clip each is of."""
    _seen: int = 0

    def add(self, picture: Image, codes: NDArray[np.uint8], clip: int) -> None:
        """Take a pair, or let it pass."""
        if self.every and self._seen % self.every == 0:
            self.pictures.append(picture.copy())
            self.codes.append(codes.copy())
            self.clips.append(clip)
        self._seen += 1

    def __len__(self) -> int:
        return len(self.pictures)
