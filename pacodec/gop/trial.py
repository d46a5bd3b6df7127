"""What code grids take, estimated on short stretches of the footage."""

import copy
from collections.abc import Callable

import numpy as np

from pacodec.base_layer.choose_codec import GridTrial, SourceProbe
from pacodec.base_layer.encoders import Stretch
from pacodec.common.media import Image
from pacodec.common.metrics import Distortion
from pacodec.gop.choose_transform import TransformChoice
from pacodec.gop.coding import CodedGop, GopEncoding, LatentBatch, encode_gop
from pacodec.gop.priors import model_prior
from pacodec.gop.rate_distortion import candidates
from pacodec.models.matching import matching_model
from pacodec.options import EncodeOptions

_PIXELS = 6_000_000
"""Pixels that are coded, at most: some seconds."""
_LEAST = 4
"""Pictures of a stretch that are coded all the same."""
_HOPELESS_COLOURS = 4096
"""A picture of more colours, of a source that was lossily coded, is not tried."""


def grid_trial(
    footage: SourceProbe, chosen: Callable[[], tuple[TransformChoice, int]], options: EncodeOptions
) -> GridTrial | None:
    """Tries what would be chosen, given with how many GOPs that makes (0: not known); None where that is hopeless.

    Where a model knows the footage, nothing else is to be tried: then the trial is of no bytes.
    """
    pictures = [rgb for stretch in footage.stretches for _, rgb in stretch]
    hopeless = footage.lossy and _is_rich(pictures[0])
    if hopeless and matching_model(pictures[:: max(1, len(pictures) // 8)]) is None:
        return None
    choice, gops = chosen()
    if choice.model is not None:
        return GridTrial(0, np.inf, exact=options.lossless)
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
        lost += whole.distortion
    gops = max(1, gops)
    size = gops * keys / len(footage.stretches) + max(0, footage.frames - gops) * others / max(1, frames)
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
