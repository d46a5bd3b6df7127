"""Which coder `encode` uses: what the options demand, else what a sample of the footage asks for."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pacodec import models
from pacodec.coders import PaletteCoder, PictureCoder, latent_coder
from pacodec.errors import CorruptFileError, LimitError, ModelError, QualityError, UnsupportedError, UsageError
from pacodec.media import Image
from pacodec.metrics import psnr
from pacodec.naming import naming
from pacodec.quantizers import QUANTIZERS
from pacodec.transforms.palette import MAX_COLOURS, PaletteTransform, learn_palette
from pacodec.weights import ModelFile

QUALITIES = (1, 2, 3, 4, 5)
DEFAULT_QUALITY = 4
DEFAULT_QUANTIZER = "scale"
PALETTE_PSNR = 40.0
"""dB that 256 colours must reach on the sample for the palette to be chosen unasked."""
SAMPLE_FRAMES = 16
UNUSUAL_MARGIN = 3.0
"""dB under a model's usual range at which footage counts as unlike what it was trained on."""

COLOURS = {1: 16, 2: 32, 3: 64, 4: MAX_COLOURS, 5: MAX_COLOURS}
CORRECTION_STEPS = {5: 5}
"""Quality 5 corrects every channel to within 2 levels."""
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
        if self.lossless and (self.quality or self.model or self.quantizer):
            raise UsageError("lossless coding takes no quality, model or quantizer")


@dataclass(frozen=True)
class Choice:
    """A coder and why it was chosen."""

    coder: PictureCoder
    reason: str
    model: ModelFile | None = None

    def unusual(self, measured: float) -> str | None:
        """A line of advice when a PSNR in dB is under the model's usual range."""
        low = self.model.info.quality.get("psnr_low") if self.model else None
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
    if wishes.model is not None or wishes.quantizer is not None:
        choices = [_by_model(sample, wishes)]
    elif wishes.lossless:
        choices = [_palette(sample, None, "lossless: palette with exact corrections", learn_palette(sample))]
    else:
        choices = _by_sample(sample, wishes)
    if wishes.min_psnr is None:
        return choices[:1]
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
    return float(psnr(pictures, coder.decode(coder.quantize(latents, parameters), {}, parameters)).mean())


def _by_model(sample: Sequence[Image], wishes: Wishes) -> Choice:
    if wishes.model is not None:
        model = models.find(wishes.model)
        return Choice(_latent(model, sample, wishes), f"model {model.name}, as asked", model)
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
        reason = f"{MAX_COLOURS} colours give {reached:.1f} dB on a sample of {len(sample)} frames"
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
    return [*ladder, _palette(sample, None, f"{reason}; exact corrections", colours)]


def _palette(sample: Sequence[Image], quality: int | None, reason: str, full: NDArray[np.uint8]) -> Choice:
    """The palette of a quality; None is lossless. `full` is the one of `MAX_COLOURS`, which several qualities share."""
    step = 1 if quality is None else CORRECTION_STEPS.get(quality, 0)
    most = MAX_COLOURS if quality is None else COLOURS[quality]
    colours = full if most == MAX_COLOURS else learn_palette(sample, most)
    height, width = sample[0].shape[:2]
    return Choice(PaletteCoder(PaletteTransform(colours, step, most - len(colours)), height, width), reason)


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
            coder = _latent(model, sample, wishes)
        except (CorruptFileError, UnsupportedError, LimitError):  # `pacodec models` says which; others may do
            continue
        reached = sample_psnr(coder, sample)
        if best is None or reached > best[0]:
            best = reached, Choice(coder, f"model {model.name}, the best of those installed", model)
    return best and best[1]
