"""Pictures to code grids and back, as a header describes it: a transform and its quantizer as one."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pacodec.container import Component, Header, ModelRef
from pacodec.errors import CorruptFileError, UnsupportedError
from pacodec.grids import Grids, GridSpec
from pacodec.quantizers import QUANTIZERS, Parameters, Quantizer
from pacodec.transforms.base import LatentTransform, Pictures
from pacodec.transforms.palette import PaletteTransform
from pacodec.weights import ModelFile

FULL_LEVELS = 256


class PictureCoder(Protocol):
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

    def analyse(self, pictures: Pictures) -> NDArray[Any]:
        """uint8 [n, H, W, 3] to latents [n, ...]: what `quantize` takes."""

    def fit(self, latents: NDArray[Any]) -> Parameters:
        """Parameters of a GOP's quantizer."""

    def quantize(self, latents: NDArray[Any], parameters: Parameters) -> Grids:
        """Latents to codes, uint8 [n, C, h, w]."""

    def additions(self) -> Parameters:
        """What a GOP's transform must say beyond the header, for all that was analysed so far."""

    def decode(self, codes: Grids, transform: Parameters, quantizer: Parameters) -> Pictures:
        """Codes to uint8 [n, H, W, 3], given a GOP's own parameters."""


class PaletteCoder:
    """Palette indices are codes already."""

    streams = True
    concurrent = False  # it may add colours, and in what order must not be a matter of chance
    model = None
    quantizer = Component("palette")

    def __init__(self, palette: PaletteTransform, height: int, width: int) -> None:
        self.palette = palette
        channels, rows, columns = palette.grid(height, width)
        self.spec = GridSpec(channels, rows, columns, ordinal=False)
        self.transform = Component(palette.name, palette.parameters)

    def analyse(self, pictures: Pictures) -> NDArray[Any]:
        """Indices, and corrections where the palette has a step for them."""
        return self.palette.encode(pictures)

    def fit(self, latents: NDArray[Any]) -> Parameters:
        """Nothing to fit."""
        return {}

    def quantize(self, latents: NDArray[Any], parameters: Parameters) -> Grids:
        """The codes themselves."""
        return latents

    def additions(self) -> Parameters:
        """Colours that the sample did not show."""
        return self.palette.additions

    def decode(self, codes: Grids, transform: Parameters, quantizer: Parameters) -> Pictures:
        """By the GOP's own palette where it has one."""
        palette = self.palette
        if transform:
            palette = PaletteTransform.from_parameters({**palette.parameters, **transform})
            if palette.grid(*codes.shape[2:])[0] != self.spec.channels:
                raise CorruptFileError("a GOP's palette does not fit the code grid")
        return palette.decode(codes)


class LatentCoder:
    """An autoencoder's latents through a quantizer."""

    concurrent = True

    def __init__(
        self,
        network: LatentTransform,
        model: ModelFile,
        quantizer: Quantizer,
        height: int,
        width: int,
        levels: int = FULL_LEVELS,
    ) -> None:
        self.network, self.method, self.levels = network, quantizer, levels
        self.height, self.width = height, width
        channels, rows, columns = network.grid(height, width)
        self.spec = GridSpec(channels * quantizer.bytes_per_value, rows, columns, ordinal=True)
        self.streams = quantizer.name in ("none", "naive")
        self.transform = Component(network.name)
        self.quantizer = Component(quantizer.name)
        self.model = ModelRef(model.name, model.sha256)

    def analyse(self, pictures: Pictures) -> NDArray[Any]:
        """float32 latents."""
        return self.network.analyse(pictures)

    def fit(self, latents: NDArray[Any]) -> Parameters:
        """What the quantizer needs to know of the GOP."""
        return self.method.fit(latents, self.levels)

    def quantize(self, latents: NDArray[Any], parameters: Parameters) -> Grids:
        """By the quantizer."""
        return self.method.quantize(latents, parameters)

    def additions(self) -> Parameters:
        """None: a model is what it is."""
        return {}

    def decode(self, codes: Grids, transform: Parameters, quantizer: Parameters) -> Pictures:
        """Through the decoder network."""
        latents = self.method.dequantize(codes, {**self.quantizer.params, **quantizer})
        return self.network.synthesise(np.ascontiguousarray(latents), self.height, self.width)


def coder_for(header: Header, model: ModelFile | None, device: str = "auto") -> PictureCoder:
    """The coder that a file's header asks for; `model` is the one it names.

    Raises UnsupportedError for an unknown transform or quantizer, CorruptFileError where the parts do not fit together.
    """
    height, width = header.video.height, header.video.width
    coder: PictureCoder
    if header.transform.name == PaletteTransform.name:
        coder = PaletteCoder(PaletteTransform.from_parameters(header.transform.params), height, width)
    else:
        if model is None:
            raise CorruptFileError(f"the transform {header.transform.name} needs a model and the header names none")
        latent = latent_coder(model, header.quantizer.name, height, width, device=device)
        if latent.transform.name != header.transform.name:
            raise CorruptFileError(f"the model is a {latent.transform.name}, the header says {header.transform.name}")
        latent.quantizer = header.quantizer
        coder = latent
    if coder.spec != header.grid:
        raise CorruptFileError(
            f"the header's code grid {_shape(header.grid)} is not the transform's {_shape(coder.spec)}"
        )
    return coder


def latent_coder(
    model: ModelFile, quantizer: str, height: int, width: int, *, levels: int = FULL_LEVELS, device: str = "auto"
) -> LatentCoder:
    """The coder of a model and the quantizer of that name; UnsupportedError when there is no such quantizer."""
    from pacodec.transforms.neural import NeuralTransform

    if quantizer not in QUANTIZERS:
        raise UnsupportedError(f"unknown quantizer {quantizer!r}; known are {', '.join(QUANTIZERS)}")
    return LatentCoder(NeuralTransform(model, device), model, QUANTIZERS[quantizer], height, width, levels)


def _shape(spec: GridSpec) -> Mapping[str, int | bool]:
    return vars(spec)
