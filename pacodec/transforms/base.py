"""The interface between pictures and latents: here, and in the quantizer, is the only place where something is lost."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Pictures = NDArray[np.uint8]
"""RGB frames, uint8 [n, H, W, 3]."""
PICTURE = "picture"
"""The header's transform where a base layer's packets hold the pictures themselves."""


class LatentTransform(Protocol):
    """Pictures to float latents in [0, 1], which a quantizer then turns into codes."""

    @property
    def name(self) -> str:
        """The name that the header carries."""

    def grid(self, height: int, width: int) -> tuple[int, int, int]:
        """(C, h, w) of the latents of one picture."""

    def analyse(self, pictures: Pictures) -> NDArray[np.float32]:
        """uint8 [n, H, W, 3] to float32 [n, C, h, w]."""

    def synthesise(self, latents: NDArray[np.float32], height: int, width: int) -> Pictures:
        """float32 [n, C, h, w] to uint8 [n, height, width, 3]."""
