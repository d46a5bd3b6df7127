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
from pacodec.transforms.names import AUTOENCODERS
from pacodec.transforms.palette import MAX_COLOURS, PaletteTransform, colour_errors
from pacodec.transforms.postfilter import POSTFILTER, PostFilter, Shape
from pacodec.transforms.shades import ShadesTransform
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

    def errors(self) -> NDArray[np.float64]:
        """Squared error of code j of the first channel where i was meant, float64 [256, 256]."""

    def decode(self, codes: Grids, transform: Parameters, quantizer: Parameters) -> Pictures:
        """Codes to uint8 [n, H, W, 3], given a GOP's own parameters."""


FILTERED = "filtered"
"""Palette indices whose pictures a model's post-filter corrects."""
COLOUR_TRANSFORMS: Mapping[str, type[PaletteTransform] | type[ShadesTransform]] = {
    PaletteTransform.name: PaletteTransform,
    ShadesTransform.name: ShadesTransform,
    FILTERED: PaletteTransform,
}
"""Those whose codes name colours."""


class PaletteCoder:
    """Palette indices, and what stands beside them, are codes already."""

    streams = True
    concurrent = False  # it may add colours, and in what order must not be a matter of chance
    quantizer = Component("palette")

    def __init__(
        self,
        palette: PaletteTransform | ShadesTransform,
        height: int,
        width: int,
        model: ModelFile | None = None,
        postfilter: PostFilter | None = None,
    ) -> None:
        """`model`: the one that holds the palette, and shades perhaps, which the header then need not carry.

        With a `postfilter`, the model's, pictures are what that makes of the palette's colours.
        """
        self.palette, self._postfilter = palette, postfilter
        self._colours = palette.palette
        self._parameters = palette.parameters
        self.model = None if model is None else ModelRef(model.name, model.sha256)
        channels, rows, columns = palette.grid(height, width)
        self.spec = GridSpec(channels, rows, columns, ordinal=False)
        inherited = {} if model is None else model_colours(model)
        own = {key: value for key, value in self._parameters.items() if inherited.get(key) != value}
        self.transform = Component(palette.name if postfilter is None else FILTERED, own)

    def analyse(self, pictures: Pictures) -> NDArray[Any]:
        """Indices, and what makes them exact where the palette has such."""
        return self.palette.encode(pictures)

    def fit(self, latents: NDArray[Any]) -> Parameters:
        """Nothing to fit."""
        return {}

    def quantize(self, latents: NDArray[Any], parameters: Parameters) -> Grids:
        """The codes themselves."""
        return latents

    def additions(self) -> Parameters:
        """Colours that the sample did not show, of the GOP that ends here."""
        return self.palette.additions()

    def errors(self) -> NDArray[np.float64]:
        """Squared distances of the colours there were at first; those added since are kept as they are.

        How many were added when this is asked, in another thread, is a matter of chance.
        """
        return colour_errors(self._colours)

    def decode(self, codes: Grids, transform: Parameters, quantizer: Parameters) -> Pictures:
        """By the GOP's own palette where it has one, and the post-filter if there is one."""
        palette = self.palette
        if transform:
            palette = palette.from_parameters({**self._parameters, **transform})
            if palette.grid(*codes.shape[2:])[0] != self.spec.channels:
                raise CorruptFileError("a GOP's palette does not fit the code grid")
        pictures = palette.decode(codes)
        return pictures if self._postfilter is None else self._postfilter.filter(pictures)


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

    def errors(self) -> NDArray[np.float64]:
        """Never asked for: the levels of a latent are kept."""
        raise NotImplementedError

    def decode(self, codes: Grids, transform: Parameters, quantizer: Parameters) -> Pictures:
        """Through the decoder network."""
        latents = self.method.dequantize(codes, {**self.quantizer.params, **quantizer})
        return self.network.synthesise(np.ascontiguousarray(latents), self.height, self.width)


def coder_for(header: Header, model: ModelFile | None, device: str = "auto") -> PictureCoder:
    """The coder that a file's header asks for; `model` is the one it names.

    Raises UnsupportedError for an unknown transform or quantizer, CorruptFileError where the parts do not fit together.
    """
    height, width = header.video.height, header.video.width
    known = (*COLOUR_TRANSFORMS, *AUTOENCODERS)
    if header.transform.name not in known:
        raise UnsupportedError(f"unknown transform {header.transform.name!r}; known are {', '.join(known)}")
    coder: PictureCoder
    if header.transform.name in COLOUR_TRANSFORMS:
        parameters = header.transform.params
        if model is not None:
            parameters = {**model_colours(model), **parameters}
        palette = COLOUR_TRANSFORMS[header.transform.name].from_parameters(parameters)
        postfilter = None
        if header.transform.name == FILTERED:
            postfilter = None if model is None else model_postfilter(model)
            if postfilter is None:
                raise CorruptFileError("the transform filtered needs a model with a post-filter, which is not there")
        coder = PaletteCoder(palette, height, width, postfilter=postfilter)
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


def model_palette(model: ModelFile) -> NDArray[np.uint8]:
    """The colours of a predictive model, uint8 [K, 3]; CorruptFileError where it has none."""
    palette = model.arrays().get("palette")
    if palette is None or palette.dtype != np.uint8 or palette.ndim != 2 or palette.shape[1] != 3:
        raise CorruptFileError(f"{model.name}: holds no palette")
    if not 1 <= len(palette) <= MAX_COLOURS:
        raise CorruptFileError(f"{model.name}: a palette of {len(palette)} colours, allowed are 1 to {MAX_COLOURS}")
    return palette


def model_colours(model: ModelFile) -> dict[str, bytes]:
    """Parameters that a colour transform takes from a predictive model: its palette, and its shades if it has any.

    Raises CorruptFileError where they are no such thing.
    """
    shades = model.arrays().get("shades")
    if shades is None:
        return {"palette": model_palette(model).tobytes()}
    if shades.dtype != np.uint8 or shades.ndim != 1:
        raise CorruptFileError(f"{model.name}: its shades are no bytes")
    return {"palette": model_palette(model).tobytes(), "shades": shades.tobytes()}


def model_postfilter(model: ModelFile) -> PostFilter | None:
    """A predictive model's post-filter, if it has one; CorruptFileError or LimitError where that is malformed."""
    value = model.info.hyperparameters.get(POSTFILTER)
    return None if value is None else PostFilter(model.arrays(), Shape.from_hyperparameter(value))


def _shape(spec: GridSpec) -> Mapping[str, int | bool]:
    return vars(spec)
