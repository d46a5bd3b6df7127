"""Pictures to code grids and back, as a header describes it: a transform and its quantizer as one."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacodec.autoencoders import AUTOENCODERS
from pacodec.autoencoders.quantizers import QUANTIZERS, Quantizer
from pacodec.common.media import Grids, GridSpec, Pictures
from pacodec.common.pixels import changed_rows
from pacodec.container import Component, Header, ModelRef
from pacodec.errors import CorruptFileError, UnsupportedError
from pacodec.models.files import ModelFile
from pacodec.models.recording import model_colours, model_postfilter
from pacodec.transforms.base import PICTURE, GridTransform, LatentTransform, Parameters
from pacodec.transforms.palette import PaletteTransform, colour_errors
from pacodec.transforms.postfilter import PostFilter
from pacodec.transforms.two_level_palette import TwoLevelPalette

FULL_LEVELS = 256


FILTERED = "filtered"
"""Palette indices whose pictures a model's post-filter corrects."""
COLOUR_TRANSFORMS: Mapping[str, type[PaletteTransform] | type[TwoLevelPalette]] = {
    PaletteTransform.name: PaletteTransform,
    TwoLevelPalette.name: TwoLevelPalette,
    FILTERED: PaletteTransform,
}
"""Those whose codes name colours."""


class PaletteGrids:
    """Palette indices, and what stands beside them, are codes already."""

    streams = True
    concurrent = False  # it may add colours, and in what order must not be a matter of chance
    quantizer = Component("palette")

    def __init__(
        self,
        palette: PaletteTransform | TwoLevelPalette,
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
        self._last: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None

    @property
    def exact(self) -> bool:
        """Whether every picture so far had only colours that codes name exactly, and no filter changes them."""
        return self.palette.exact and self._postfilter is None

    @property
    def pixelwise(self) -> bool:
        """Whether no filter looks at the surroundings of a pixel."""
        return self._postfilter is None

    def analyse(self, pictures: Pictures) -> NDArray[Any]:
        """Indices, and what makes them exact where the palette has such; quick where rows are those of the last one."""
        codes = np.empty((len(pictures), self.spec.channels, self.spec.height, self.spec.width), np.uint8)
        for picture, made in zip(pictures, codes, strict=True):
            if self._last is None:
                made[...] = self.palette.encode(picture[None])[0]
            else:
                rows = changed_rows(self._last[0], picture)
                made[...] = self._last[1]
                if rows.any():
                    made[:, rows] = self.palette.encode(picture[None, rows])[0]
            self._last = picture, made
        return codes

    def fit(self, latents: NDArray[Any]) -> Parameters:
        return {}

    def quantize(self, latents: NDArray[Any], parameters: Parameters) -> Grids:
        return latents

    def additions(self) -> Parameters:
        """Colours that the sample did not show, of the GOP that ends here."""
        self._last = None  # what the next GOP shows counts anew
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
        pictures = np.empty((len(codes), *codes.shape[2:], 3), np.uint8)
        for number, grid in enumerate(codes):
            if not number:
                pictures[0] = palette.decode(grid[None])[0]
                continue
            rows = changed_rows(np.moveaxis(codes[number - 1], 0, 1), np.moveaxis(grid, 0, 1))
            pictures[number] = pictures[number - 1]
            if rows.any():
                pictures[number, rows] = palette.decode(grid[None, :, rows])[0]
        return pictures if self._postfilter is None else self._postfilter.filter(codes, pictures)


class LatentGrids:
    """An autoencoder's latents through a quantizer."""

    concurrent = True
    exact = pixelwise = False

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
        return self.network.analyse(pictures)

    def fit(self, latents: NDArray[Any]) -> Parameters:
        return self.method.fit(latents, self.levels)

    def quantize(self, latents: NDArray[Any], parameters: Parameters) -> Grids:
        return self.method.quantize(latents, parameters)

    def additions(self) -> Parameters:
        """Nothing, since a model does not change."""
        return {}

    def errors(self) -> NDArray[np.float64]:
        """Never asked for: the levels of a latent are kept."""
        raise NotImplementedError

    def decode(self, codes: Grids, transform: Parameters, quantizer: Parameters) -> Pictures:
        latents = self.method.dequantize(codes, {**self.quantizer.params, **quantizer})
        return self.network.synthesise(np.ascontiguousarray(latents), self.height, self.width)


def transform_for(header: Header, model: ModelFile | None, device: str = "auto") -> GridTransform:
    """The transform that a file's header asks for; `model` is the one it names.

    Raises UnsupportedError for an unknown transform or quantizer, CorruptFileError where the parts do not fit together.
    """
    height, width = header.video.height, header.video.width
    if header.transform.name == PICTURE:
        from pacodec.base_layer.decoding import PictureGrids

        return PictureGrids(height, width, header.transform.params)
    known = (*COLOUR_TRANSFORMS, *AUTOENCODERS, PICTURE)
    if header.transform.name not in known:
        raise UnsupportedError(f"unknown transform {header.transform.name!r}; known are {', '.join(known)}")
    made: GridTransform
    if header.transform.name in COLOUR_TRANSFORMS:
        made = _palette_grids(header, model, height, width)
    else:
        if model is None:
            raise CorruptFileError(f"the transform {header.transform.name} needs a model and the header names none")
        latent = latent_grids(model, header.quantizer.name, height, width, device=device)
        if latent.transform.name != header.transform.name:
            raise CorruptFileError(f"the model is a {latent.transform.name}, the header says {header.transform.name}")
        latent.quantizer = header.quantizer
        made = latent
    if made.spec != header.grid:
        raise CorruptFileError(f"the header's code grid {vars(header.grid)} is not the transform's {vars(made.spec)}")
    return made


def _palette_grids(header: Header, model: ModelFile | None, height: int, width: int) -> PaletteGrids:
    parameters = header.transform.params
    if model is not None:
        parameters = {**model_colours(model), **parameters}
    palette = COLOUR_TRANSFORMS[header.transform.name].from_parameters(parameters)
    postfilter = None
    if header.transform.name == FILTERED:
        postfilter = None if model is None else model_postfilter(model)
        if postfilter is None:
            raise CorruptFileError("the transform filtered needs a model with a post-filter, which is not there")
    return PaletteGrids(palette, height, width, postfilter=postfilter)


def latent_grids(
    model: ModelFile, quantizer: str, height: int, width: int, *, levels: int = FULL_LEVELS, device: str = "auto"
) -> LatentGrids:
    """The transform of a model and the quantizer of that name; UnsupportedError when there is no such quantizer."""
    from pacodec.autoencoders.neural import NeuralTransform

    if quantizer not in QUANTIZERS:
        raise UnsupportedError(f"unknown quantizer {quantizer!r}; known are {', '.join(QUANTIZERS)}")
    return LatentGrids(NeuralTransform(model, device), model, QUANTIZERS[quantizer], height, width, levels)
