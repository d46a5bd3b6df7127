"""The interface between pictures and latents: here, and in the quantizer, is the only place where something is lost."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pacodec.common.media import Grids, GridSpec, Pictures
from pacodec.container import Component, ModelRef

Parameters = Mapping[str, Any]
"""What a header or a GOP says of a transform or a quantizer: plain msgpack values."""
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


class GridTransform(Protocol):
    """Both directions between pictures and code grids, and what the header says of them."""

    @property
    def spec(self) -> GridSpec:
        """Shape and nature of the code grids."""

    @property
    def transform(self) -> Component:
        """The header's transform."""

    @property
    def quantizer(self) -> Component:
        """The header's quantizer."""

    @property
    def model(self) -> ModelRef | None:
        """The model that decoding needs."""

    @property
    def streams(self) -> bool:
        """True when the codes of a picture do not depend on the rest of its GOP."""

    @property
    def concurrent(self) -> bool:
        """Whether `analyse` may run in several threads at once, and gains by it."""

    @property
    def exact(self) -> bool:
        """Whether every picture analysed so far comes back exactly from its own codes."""

    @property
    def pixelwise(self) -> bool:
        """Whether a pixel depends on the codes of its own place alone."""

    def analyse(self, pictures: Pictures) -> NDArray[Any]:
        """uint8 [n, H, W, 3] to latents [n, ...]: what `quantize` takes."""

    def fit(self, latents: NDArray[Any]) -> Parameters:
        """Parameters of a GOP's quantizer."""

    def quantize(self, latents: NDArray[Any], parameters: Parameters) -> Grids:
        """Latents to codes, uint8 [n, C, h, w]."""

    def additions(self) -> Parameters:
        """What a GOP's transform must say beyond the header, for all that was analysed so far."""

    def errors(self) -> NDArray[np.float64]:
        """Squared error of code j of the first channel where i was meant, float64 [256, 256]."""

    def decode(self, codes: Grids, transform: Parameters, quantizer: Parameters) -> Pictures:
        """Codes to uint8 [n, H, W, 3], given a GOP's own parameters."""
