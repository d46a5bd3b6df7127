"""Which coder `encode` uses: what the options demand, else what a sample of the footage asks for."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pacodec import models
from pacodec.coders import PaletteCoder, PictureCoder, latent_coder, model_colours, model_palette, model_postfilter
from pacodec.errors import CorruptFileError, LimitError, ModelError, QualityError, UnsupportedError, UsageError
from pacodec.familiar import familiar
from pacodec.media import Image
from pacodec.metrics import psnr
from pacodec.naming import naming
from pacodec.predictors.learned import PREDICTIVE
from pacodec.quantizers import QUANTIZERS
from pacodec.thrift import CLEAN_THRIFTS, Thrift, noisy_thrifts
from pacodec.transforms.palette import MAX_COLOURS, PaletteTransform, learn_palette
from pacodec.transforms.postfilter import PostFilter
from pacodec.transforms.shades import ShadesTransform, frequent_colours, occurring_palette, without
from pacodec.weights import ModelFile

QUALITIES = (1, 2, 3, 4, 5)
DEFAULT_QUALITY = 4
DEFAULT_QUANTIZER = "scale"
PALETTE_PSNR = 40.0
"""dB that 256 colours must reach on the sample for the palette to be chosen unasked."""
SHADED_COLOURS = 1 << 15
"""Colours of the sample up to which lossless coding gives each a label of its own."""
SAMPLE_FRAMES = 16
UNUSUAL_MARGIN = 3.0
"""dB under a model's usual range at which footage counts as unlike what it was trained on."""

COLOURS = {1: 16, 2: 32, 3: 64, 4: MAX_COLOURS, 5: MAX_COLOURS}
CORRECTION_STEPS = {5: 5}
"""Quality 5 corrects every channel to within 2 levels."""
UNFAMILIAR = (
    "no model here knows such footage, and one that does makes it smaller: pacodec train CLIP... -o MINE.pacmodel"
)
LEVELS = {1: 16, 2: 32, 3: 64, 4: 256, 5: 256}


@dataclass(frozen=True)
class Wishes:
    """What the caller asked for; None is free choice."""

    model: str | None = None
    quality: int | None = None
    lossless: bool = False
    quantizer: str | None = None
    min_psnr: float | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.quality is not None and self.quality not in QUALITIES:
            raise UsageError(f"quality is {self.quality}, allowed are {QUALITIES[0]} to {QUALITIES[-1]}")
        if self.quantizer is not None and self.quantizer not in QUANTIZERS:
            raise UsageError(f"unknown quantizer {self.quantizer!r}; known are {', '.join(QUANTIZERS)}")
        if self.lossless and (self.quality or self.quantizer):
            raise UsageError("lossless coding takes no quality or quantizer")


@dataclass(frozen=True)
class Choice:
    """A coder and why it was chosen."""

    coder: PictureCoder
    reason: str
    model: ModelFile | None = None
    thrift: Thrift | None = None
    """None keeps every code as it is."""

    def unusual(self, measured: float) -> str | None:
        """A line of advice when a PSNR in dB is under the model's usual range."""
        low = self.model.info.quality.get("psnr_low") if self.model and not self.thrift else None
        if not isinstance(low, int | float) or measured >= low - UNUSUAL_MARGIN or self.model is None:
            return None
        return (
            f"{measured:.1f} dB is under the usual range of {self.model.name} (from {low:.1f} dB): this footage is "
            f"unlike what it was trained on; train on footage of its kind: "
            f"pacodec train CLIP... -o MINE.pacmodel --arch {self.model.info.arch}"
        )


def choose(sample: Sequence[Image], wishes: Wishes) -> list[Choice]:
    """Coders that meet the wishes, the preferred first; the others are of higher quality, for a PSNR that is missed.

    `sample` is some frames from all over the footage, uint8 [H, W, 3]. Raises ModelError for a model that is not there,
    QualityError where no coder can reach `min_psnr` on the sample.
    """
    if wishes.model is not None:
        choices = _by_model(sample, wishes, models.find(wishes.model))
    elif wishes.quantizer is not None:
        choices = [_by_quantizer(sample, wishes)]
    elif (known := familiar(sample)) is not None:
        choices = _predictive(sample, wishes, known, f"model {known.name} knows such footage")
    elif wishes.lossless:
        choices = _lossless(sample, "lossless", learn_palette(sample))
    else:
        choices = _by_sample(sample, wishes)
    if wishes.min_psnr is None:
        return choices if wishes.lossless else choices[:1]
    for index, choice in enumerate(choices):
        reached = sample_psnr(choice.coder, sample)
        if reached >= wishes.min_psnr:
            return choices[index:]
    raise QualityError(f"{wishes.min_psnr:g} dB cannot be reached: {choices[-1].reason} gives {reached:.1f} dB")


def sample_psnr(coder: PictureCoder, sample: Sequence[Image]) -> float:
    """Mean PSNR in dB of the sample through the coder."""
    pictures = np.stack(sample)
    latents = coder.analyse(pictures)
    parameters = coder.fit(latents)
    codes = coder.quantize(latents, parameters)
    return float(psnr(pictures, coder.decode(codes, coder.additions(), parameters)).mean())


def _by_model(sample: Sequence[Image], wishes: Wishes, model: ModelFile) -> list[Choice]:
    reason = f"model {model.name}, as asked"
    if model.info.arch == PREDICTIVE:
        if wishes.quantizer is not None:
            raise UsageError(
                f"{model.name} predicts palette codes; the quantizer {wishes.quantizer} is no part of that"
            )
        return _predictive(sample, wishes, model, reason)
    if wishes.lossless:
        raise UsageError(f"{model.name} is an autoencoder, which cannot be lossless")
    return [Choice(_latent(model, sample, wishes), reason, model)]


def _predictive(sample: Sequence[Image], wishes: Wishes, model: ModelFile, reason: str) -> list[Choice]:
    """A model's palette under its network; lower qualities choose codes by rate and distortion."""
    quality = None if wishes.lossless else wishes.quality or DEFAULT_QUALITY
    colours = model_palette(model)
    noise = model.info.hyperparameters.get("noise", 0)
    noisy = isinstance(noise, int) and 0 < noise <= 255
    thrifts = noisy_thrifts(noise) if noisy else CLEAN_THRIFTS
    postfilter = model_postfilter(model) if noisy else None
    ladder = [
        replace(_palette(sample, q, reason, colours, model, not noisy, postfilter), thrift=thrifts.get(q))
        for q in QUALITIES
        if quality is not None and q >= quality
    ]
    if noisy and ladder:  # what corrects every pixel is no step of noisy footage, but may be what a floor asks for
        ladder.append(_palette(sample, QUALITIES[-1], reason, colours, model))
    return [replace(choice, model=model) for choice in (*ladder, *_lossless(sample, reason, colours, model))]


def _by_quantizer(sample: Sequence[Image], wishes: Wishes) -> Choice:
    if wishes.lossless:
        raise UsageError("lossless coding takes no quality or quantizer")
    best = _best_autoencoder(sample, wishes)
    if best is None:
        raise ModelError(f"the quantizer {wishes.quantizer} needs an autoencoder and no model is installed")
    return best


def _by_sample(sample: Sequence[Image], wishes: Wishes) -> list[Choice]:
    """The palette where it suffices, else the best autoencoder, unless the palette is better than that one too."""
    quality = wishes.quality or DEFAULT_QUALITY
    colours = learn_palette(sample)
    full = _palette(sample, DEFAULT_QUALITY, "", colours)
    reached = sample_psnr(full.coder, sample)
    if reached >= PALETTE_PSNR:
        reason = f"{MAX_COLOURS} colours give {reached:.1f} dB on a sample of {len(sample)} frames; {UNFAMILIAR}"
    else:
        best = _best_autoencoder(sample, wishes)
        if best is not None and (theirs := sample_psnr(best.coder, sample)) > reached:
            reason = f"{MAX_COLOURS} colours give only {reached:.1f} dB on a sample, {theirs:.1f} dB"
            return [Choice(best.coder, f"{best.reason}; {reason} with it", best.model)]
        other = f"the best autoencoder, {best.model.name}, {theirs:.1f} dB" if best and best.model else "no autoencoder"
        reason = f"{MAX_COLOURS} colours give {reached:.1f} dB on a sample of {len(sample)} frames, {other}"
    if not wishes.min_psnr:
        return [_palette(sample, quality, reason, colours)]
    ladder = [_palette(sample, q, reason, colours) for q in QUALITIES if q >= quality]
    return [*ladder, *_lossless(sample, reason, colours)]


def _lossless(
    sample: Sequence[Image], reason: str, colours: NDArray[np.uint8], model: ModelFile | None = None
) -> list[Choice]:
    """Shades where the sample has few enough colours; then corrections, for footage that has more than the sample."""
    found = frequent_colours(sample)
    exact = _palette(sample, None, f"{reason}: palette with exact corrections", colours, model)
    if len(found) > SHADED_COLOURS:
        return [exact]
    known = {} if model is None else model_colours(model)
    if "shades" in known:
        shades = ShadesTransform.from_parameters(known)
    else:
        palette = occurring_palette(colours, found) if model is None else colours
        shades = ShadesTransform(palette, without(found, palette))
    height, width = sample[0].shape[:2]
    coder = PaletteCoder(shades, height, width, model)
    return [Choice(coder, f"{reason}: {len(found)} colours in a sample of {len(sample)} frames"), exact]


def _palette(
    sample: Sequence[Image],
    quality: int | None,
    reason: str,
    full: NDArray[np.uint8],
    model: ModelFile | None = None,
    exact: bool = True,
    postfilter: PostFilter | None = None,
) -> Choice:
    """The palette of a quality; None is lossless. `full` is the one of `MAX_COLOURS`, which several qualities share;
    with a `model` it is that one's, and all of them do. If not `exact`, it does not grow.
    """
    step = 1 if quality is None else CORRECTION_STEPS.get(quality, 0)
    most = MAX_COLOURS if quality is None or model is not None else COLOURS[quality]
    colours = full if most == MAX_COLOURS else learn_palette(sample, most)
    height, width = sample[0].shape[:2]
    room = most - len(colours) if exact else 0
    palette = PaletteTransform(colours, step if exact else 0, room)
    return Choice(PaletteCoder(palette, height, width, model, postfilter), reason)


def _latent(model: ModelFile, sample: Sequence[Image], wishes: Wishes) -> PictureCoder:
    height, width = sample[0].shape[:2]
    levels = LEVELS[wishes.quality or DEFAULT_QUALITY]
    name = wishes.quantizer or DEFAULT_QUANTIZER
    with naming(model.name):
        return latent_coder(model, name, height, width, levels=levels, device=wishes.device)


def _best_autoencoder(sample: Sequence[Image], wishes: Wishes) -> Choice | None:
    """The installed model that does best on the sample."""
    best: tuple[float, Choice] | None = None
    for path in models.paths():
        try:
            model = ModelFile.read(path)
            if model.info.arch == PREDICTIVE:
                continue
            coder = _latent(model, sample, wishes)
        except (CorruptFileError, UnsupportedError, LimitError):  # `pacodec models` says which; others may do
            continue
        reached = sample_psnr(coder, sample)
        if best is None or reached > best[0]:
            best = reached, Choice(coder, f"model {model.name}, the best of those installed", model)
    return best and best[1]
