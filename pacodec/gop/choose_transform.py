"""Which transform `encode` uses: what the options demand, else what a look at the footage and a trial of it say."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pacodec.base_layer.choose_codec import GridTrial, SourceProbe, Untried
from pacodec.base_layer.encoders import Stretch
from pacodec.common.files import naming
from pacodec.common.media import Image
from pacodec.common.metrics import Distortion
from pacodec.common.pixels import MAX_COLOURS
from pacodec.errors import CorruptFileError, LimitError, ModelError, QualityError, UnsupportedError, UsageError
from pacodec.gop import rate_distortion
from pacodec.gop.coding import CodedGop, GopEncoding, LatentBatch, encode_gop
from pacodec.gop.grid_transforms import PaletteGrids, latent_grids
from pacodec.gop.priors import model_prior
from pacodec.gop.rate_distortion import RateDistortion, candidates
from pacodec.gop.survey import Survey
from pacodec.models import library
from pacodec.models.files import ModelFile
from pacodec.models.library import matching_model
from pacodec.models.recording import RECORDING, model_colours, model_noise, model_palette, model_postfilter
from pacodec.options import QUALITIES, EncodeOptions
from pacodec.transforms.base import GridTransform
from pacodec.transforms.palette import PaletteTransform, learn_palette
from pacodec.transforms.postfilter import PostFilter
from pacodec.transforms.two_level_palette import TwoLevelPalette, frequent_colours, occurring_palette, without

DEFAULT_QUALITY = 4
DEFAULT_QUANTIZER = "scale"
TWO_LEVEL_COLOURS = 1 << 15
"""Colours up to which lossless coding gives each a label of its own."""
UNUSUAL_MARGIN = 3.0
"""dB under a model's usual range at which footage counts as unlike what it was trained on."""

COLOURS = {1: 16, 2: 32, 3: 64, 4: MAX_COLOURS, 5: MAX_COLOURS}
CORRECTION_STEPS = {5: 5}
"""Quality 5 corrects every channel to within 2 levels."""
LEVELS = {1: 16, 2: 32, 3: 64, 4: 256, 5: 256}


@dataclass(frozen=True)
class TransformChoice:
    """A transform and why it was chosen."""

    transform: GridTransform
    reason: str
    model: ModelFile | None = None
    exchange: RateDistortion | None = None
    """None keeps every code as it is."""
    most: float = math.inf
    """Bytes that the pictures may take, where another way takes no more."""

    def unusual(self, measured: float) -> str | None:
        """A line of advice when a PSNR in dB is under the model's usual range."""
        low = self.model.info.quality.get("psnr_low") if self.model and not self.exchange else None
        if not isinstance(low, int | float) or measured >= low - UNUSUAL_MARGIN or self.model is None:
            return None
        return (
            f"{measured:.1f} dB is under the usual range of {self.model.name} (from {low:.1f} dB): this footage is "
            f"unlike what it was trained on; train on footage of its kind: "
            f"pacodec train CLIP... -o MINE.pacmodel --arch {self.model.info.arch}"
        )


def choose_transform(footage: Survey, options: EncodeOptions) -> list[TransformChoice]:
    """Transforms that meet the options, the preferred first; the others are of higher quality, for a PSNR that is
    missed.

    Raises ModelError for a model that is not there, QualityError where none can reach `min_psnr` on the sample.
    """
    sample = footage.sample
    if options.model is not None:
        choices = _by_model(footage, options, library.find(options.model))
    elif options.quantizer is not None:
        choices = [_by_quantizer(sample, options)]
    elif (known := matching_model(sample)) is not None:
        choices = _recorded(footage, options, known, f"model {known.name} knows such footage")
    elif options.lossless:
        choices = _lossless(footage, "lossless", _palette_of(footage, MAX_COLOURS))
    else:
        choices = _by_sample(footage, options)
    if options.min_psnr is None:
        return choices if options.lossless else choices[:1]
    for index, choice in enumerate(choices):
        reached = sample_psnr(choice.transform, sample)
        if reached >= options.min_psnr:
            return choices[index:]
    raise QualityError(f"{options.min_psnr:g} dB cannot be reached: {choices[-1].reason} gives {reached:.1f} dB")


def sample_psnr(transform: GridTransform, sample: Sequence[Image]) -> float:
    """PSNR in dB of the sample through the transform, its error pooled."""
    total = Distortion()
    pictures = np.stack(sample)
    latents = transform.analyse(pictures)
    parameters = transform.fit(latents)
    codes = transform.quantize(latents, parameters)
    additions = transform.additions()
    for number in range(len(pictures)):
        decoded = transform.decode(codes[number : number + 1], additions, parameters)
        total += Distortion.of(pictures[number : number + 1], decoded)
    return total.psnr


def _by_model(footage: Survey, options: EncodeOptions, model: ModelFile) -> list[TransformChoice]:
    reason = f"model {model.name}, as asked"
    if model.info.arch == RECORDING:
        if options.quantizer is not None:
            raise UsageError(f"{model.name} is of palette codes; the quantizer {options.quantizer} is no part of that")
        return _recorded(footage, options, model, reason)
    if options.lossless:
        raise UsageError(f"{model.name} is an autoencoder, which cannot be lossless")
    return [TransformChoice(_latent(model, footage.sample, options), reason, model)]


def _recorded(footage: Survey, options: EncodeOptions, model: ModelFile, reason: str) -> list[TransformChoice]:
    """A model's palette after its recording; of noisy footage, codes are chosen by rate and distortion."""
    quality = options.quality or DEFAULT_QUALITY
    colours, noise = model_palette(model), model_noise(model)
    if not noise:
        quality = max(quality, DEFAULT_QUALITY)  # the lower ones are the same
    exchanges = rate_distortion.noisy(noise) if noise else {}
    postfilter = model_postfilter(model) if noise else None
    ladder = [
        replace(
            _palette(footage, q, reason, colours, model, not noise, postfilter),
            exchange=exchanges.get(q),
        )
        for q in QUALITIES
        if not options.lossless and q >= quality
    ]
    if noise and ladder:  # what corrects every pixel is no step of noisy footage, but may be what a floor asks for
        ladder.append(_palette(footage, QUALITIES[-1], reason, colours, model))
    return [replace(choice, model=model) for choice in (*ladder, *_lossless(footage, reason, colours, model))]


def _by_quantizer(sample: Sequence[Image], options: EncodeOptions) -> TransformChoice:
    best = _best_autoencoder(sample, options)
    if best is None:
        raise ModelError(f"the quantizer {options.quantizer} needs an autoencoder and no model is installed")
    return best


def _by_sample(footage: Survey, options: EncodeOptions) -> list[TransformChoice]:
    """Palettes, with further planes where a floor asks for more."""
    quality = options.quality or DEFAULT_QUALITY
    colours = _palette_of(footage, MAX_COLOURS)
    if footage.colours is not None and len(footage.colours) <= MAX_COLOURS:
        reason = f"all of it has {len(footage.colours)} colours"
    else:
        full = _palette(footage, DEFAULT_QUALITY, "", colours)
        reached = sample_psnr(full.transform, footage.sample)
        reason = f"{MAX_COLOURS} colours give {reached:.1f} dB on a sample of {len(footage.sample)} frames"
    if not options.min_psnr:
        return [_palette(footage, quality, reason, colours)]
    ladder = [_palette(footage, q, reason, colours) for q in QUALITIES if q >= quality]
    return [*ladder, *_lossless(footage, reason, colours)]


def _lossless(
    footage: Survey, reason: str, colours: NDArray[np.uint8], model: ModelFile | None = None
) -> list[TransformChoice]:
    """A palette of all colours, else shades where there are few enough; then corrections, for more than these."""
    sample = footage.sample
    if footage.grey and model is None:
        return [_palette(footage, DEFAULT_QUALITY, f"{reason}: all of it is grey", colours)]
    exact = _palette(footage, None, f"{reason}: palette with exact corrections", colours, model)
    found = frequent_colours(sample)
    if footage.colours is not None:
        found = np.concatenate([found, without(footage.colours, found)])
        if model is None and len(found) <= MAX_COLOURS:
            return [_palette(footage, DEFAULT_QUALITY, f"{reason}: all of it has {len(found)} colours", colours)]
    if len(found) > TWO_LEVEL_COLOURS:
        return [exact]
    known = {} if model is None else model_colours(model)
    if "shades" in known:
        shades = TwoLevelPalette.from_parameters(known)
    else:
        palette = occurring_palette(colours, found) if model is None else colours
        shades = TwoLevelPalette(palette, without(found, palette))
    height, width = sample[0].shape[:2]
    return [TransformChoice(PaletteGrids(shades, height, width, model), f"{reason}: {len(found)} colours seen"), exact]


def _palette(
    footage: Survey,
    quality: int | None,
    reason: str,
    full: NDArray[np.uint8],
    model: ModelFile | None = None,
    exact: bool = True,
    postfilter: PostFilter | None = None,
) -> TransformChoice:
    """The palette of a quality; None is lossless. `full` is the one of `MAX_COLOURS`, which several qualities share;
    with a `model` it is that one's, and all of them do. If not `exact`, it does not grow.
    """
    step = 1 if quality is None else CORRECTION_STEPS.get(quality, 0)
    most = MAX_COLOURS if quality is None or model is not None else COLOURS[quality]
    colours = full if most == MAX_COLOURS else _palette_of(footage, most)
    if step and footage.colours is not None and model is None and len(footage.colours) <= most:
        step = 0  # there is nothing to correct
    height, width = footage.sample[0].shape[:2]
    known = footage.colours is not None and model is None  # nothing is left to be met
    room = most - len(colours) if exact and not known else 0
    palette = PaletteTransform(colours, step if exact else 0, room)
    return TransformChoice(PaletteGrids(palette, height, width, model, postfilter), reason)


def _palette_of(footage: Survey, most: int) -> NDArray[np.uint8]:
    """At most so many colours: those of all footage where it is known to have no more."""
    return learn_palette(footage.sample, most, footage.colours)


def _latent(model: ModelFile, sample: Sequence[Image], options: EncodeOptions) -> GridTransform:
    height, width = sample[0].shape[:2]
    levels = LEVELS[options.quality or DEFAULT_QUALITY]
    name = options.quantizer or DEFAULT_QUANTIZER
    with naming(model.name):
        return latent_grids(model, name, height, width, levels=levels, device=options.device)


def _best_autoencoder(sample: Sequence[Image], options: EncodeOptions) -> TransformChoice | None:
    """The installed model that does best on the sample."""
    best: tuple[float, TransformChoice] | None = None
    for path in library.paths():
        try:
            model = ModelFile.read(path)
            if model.info.arch == RECORDING:
                continue
            transform = _latent(model, sample, options)
        except (CorruptFileError, UnsupportedError, LimitError):  # `pacodec models` says which; others may do
            continue
        reached = sample_psnr(transform, sample)
        if best is None or reached > best[0]:
            best = reached, TransformChoice(transform, f"model {model.name}, the best of those installed", model)
    return best and best[1]


_PIXELS = 6_000_000
"""Pixels that are coded, at most: some seconds."""
_LEAST = 4
"""Pictures of a stretch that are coded all the same."""
_HOPELESS_COLOURS = 4096
"""A picture of more colours, of a source that was lossily coded, is not tried."""


def grid_trial(footage: SourceProbe, chosen: Callable[[], tuple[TransformChoice, int]]) -> GridTrial | Untried:
    """Tries what would be chosen, given with how many GOPs that makes (0: not known)."""
    pictures = [rgb for stretch in footage.stretches for _, rgb in stretch]
    hopeless = footage.lossy and _is_rich(pictures[0])
    if hopeless and matching_model(pictures[:: max(1, len(pictures) // 8)]) is None:
        return Untried.HOPELESS
    choice, gops = chosen()
    if choice.model is not None:
        return Untried.KNOWN
    transform = copy.deepcopy(choice.transform)  # what it learns here must not count
    prior = model_prior(choice.model, transform.spec)
    encoding = GopEncoding(transform, prior, candidates(choice.exchange, 1), fallback=False)
    keys = others = frames = 0
    lost = Distortion()
    height, width = pictures[0].shape[:2]
    most = max(_LEAST, _PIXELS // (height * width * len(footage.stretches)))
    for stretch in footage.stretches:
        part = stretch[:most]
        first, whole = (_coded(encoding, pictures) for pictures in (part[:1], part))
        keys += len(first.payload)
        others += len(whole.payload) - len(first.payload)
        frames += len(part) - 1
        lost += Distortion.of_errors(whole.errors, np.ones(len(part), np.int64))
    gops = max(1, gops)
    frame_bytes = footage.activity * others / max(1, frames)
    size = gops * keys / len(footage.stretches) + max(0, footage.frames - gops) * frame_bytes
    return GridTrial(size, lost.psnr, exact=not lost.total)


def _is_rich(picture: Image) -> bool:
    """Whether a picture has more colours than a palette shows well."""
    values = picture.reshape(-1, 3).astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    return len(np.unique(values)) > _HOPELESS_COLOURS


def _coded(encoding: GopEncoding, stretch: Stretch) -> CodedGop:
    pictures = np.stack([rgb for _, rgb in stretch])
    latents = encoding.transform.analyse(pictures)
    batch = LatentBatch(lambda: latents, np.arange(len(pictures)), pictures)
    coded = encode_gop(encoding, iter([batch]))
    encoding.transform.additions()
    return coded
