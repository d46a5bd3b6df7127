"""Files as the encoder writes them: every transform, quantizer, predictor and quality."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import clips
import numpy as np
import predictive
from conftest import COLOURS
from vectors.making.workshop import HEIGHT, LOSSLESS_CLIP, ORDER, WIDTH, Pictures, Recipe, Workshop, flat, smooth

NOISE = (predictive.integers("noise", (4, 24, 32), 8) & 15).astype(np.uint8)


def plain(about: str, pictures: Pictures, **options: Any) -> Recipe:
    """What `encode` makes of pictures."""
    return Recipe(about, lambda shop: shop.encode(pictures, **options))


def noisy() -> Pictures:
    """Pictures of 16 colours without rhyme or reason."""
    return list(COLOURS[NOISE])


def grainy(order: range, width: int = WIDTH, height: int = HEIGHT) -> Pictures:
    """Flat pictures whose pixels are off by some levels, each time by others."""
    grain = predictive.integers("grain", (len(order), height, width, 3), 6)
    return [
        (picture + levels).clip(0, 255).astype(np.uint8)
        for picture, levels in zip(flat(order, width, height), grain, strict=True)
    ]


def brightened(order: range) -> Pictures:
    """Flat pictures with shades of their colours, and some that no model knows."""
    pictures = []
    for number, picture in zip(order, flat(order), strict=True):
        shifted = picture.astype(np.int64)
        shifted[4:12, number : number + 8] += 3
        shifted[20:22, 2 * number] += 11
        pictures.append(np.minimum(shifted, 255).astype(np.uint8))
    return pictures


def with_sound(shop: Workshop, codec: str) -> Path:
    """A clip with an audio track."""
    path = shop.folder / "sound.mkv"
    clips.make_clip(path, width=16, height=16, frames=6, audio=codec, **LOSSLESS_CLIP)
    return path


GRADIENTS = smooth((0, 1, 2, 2, 9, 0, 2, 1), 24, 16)
"""More than 256 colours."""
AUTOENCODER_CLIP = smooth((0, 3, 3, 6))
RECIPES: Mapping[str, Recipe] = {
    **{
        f"palette-q{quality}": plain(
            f"palette, quality {quality}, adaptive contexts", smooth(ORDER[:7]), quality=quality
        )
        for quality in (1, 2, 3, 4, 5)
    },
    "palette": plain("palette of few colours, repeated frames, three GOPs", flat()),
    "palette-none": plain("palette, predictor none", flat(), predictor="none"),
    "palette-exact": Recipe(
        "palette with exact corrections (step 1), from a pipe and to a pipe: the number of frames is not declared",
        lambda shop: shop.encode_pipe(smooth(range(6), 16, 16), "--lossless", "--gop", "0.2"),
    ),
    "shades": plain("shades, lossless", GRADIENTS, lossless=True),
    "shades-none": plain("shades, lossless, predictor none", GRADIENTS[:2], lossless=True, predictor="none"),
    **{
        f"conv4-{quantizer}": plain(
            f"conv4, quantizer {quantizer}", AUTOENCODER_CLIP, model="conv4", quantizer=quantizer
        )
        for quantizer in ("none", "naive", "scale", "kmeans")
    },
    "conv4-scale-q1": plain(
        "conv4, 16 levels of scale, predictor none", AUTOENCODER_CLIP, model="conv4", quality=1, predictor="none"
    ),
    "conv4-kmeans-q2": plain(
        "conv4, 32 levels of kmeans", AUTOENCODER_CLIP, model="conv4", quality=2, quantizer="kmeans"
    ),
    **{
        f"{arch}-scale": plain(f"{arch}, quantizer scale", AUTOENCODER_CLIP[:size], model=arch)
        for arch, size in {
            "conv5": 4,
            "vae": 4,
            "pca": 4,
            "pca-levels": 3,
            "vanilla-500": 3,
            "vanilla-1000": 2,
            "multilayer-500": 2,
            "multilayer-1000": 2,
        }.items()
    },
    "conv4-levels": plain(
        "conv4 with a quantizer inside, kmeans", AUTOENCODER_CLIP, model="conv4-levels", quantizer="kmeans"
    ),
    "learned": plain("learned: first grid stored, then a network", flat(range(10)), model="foresight", foresee=True),
    "learned-narrow": plain(
        "learned: the smallest network", flat(range(6)), model="narrow", foresee=True, gop_seconds=1
    ),
    "learned-deep": plain(
        "learned: eight grids back, hidden layers", flat(range(9)), model="deep", foresee=True, gop_seconds=1
    ),
    "learned-screen": plain(
        "learned: begins with a screen of the model", flat(range(4)), model="screens", foresee=True
    ),
    "learned-q5": plain(
        "learned, palette with corrections of step 5",
        smooth(range(4), 24, 16),
        model="foresight",
        foresee=True,
        quality=5,
    ),
    **{
        f"learned-q{quality}": plain(
            f"learned, quality {quality}: the encoder chose cheaper codes",
            noisy(),
            model="foresight",
            foresee=True,
            quality=quality,
        )
        for quality in (1, 2, 3)
    },
    "learned-shades": plain(
        "learned, shades of which the model knows most",
        brightened(range(5)),
        model="shaded",
        foresee=True,
        lossless=True,
    ),
    "learned-hedged-adaptive": plain(
        "learned, payloads of adaptive (first byte 253)", flat(range(12)), model="foresight", gop_seconds=1
    ),
    "learned-hedged-none": plain(
        "learned, payloads of none (first byte 254): GOPs of one frame",
        flat((0, 5, 9)),
        model="foresight",
        gop_seconds=0.04,
    ),
    "learned-embedded": plain(
        "learned, the model embedded", flat(range(5)), model="narrow", foresee=True, embed_model=True
    ),
    "palette-of-model": plain("palette of a model, adaptive contexts", flat(), model="foresight", predictor="adaptive"),
    "filtered": plain(
        "filtered: palette codes by a network, a post-filter of width 4 with a block",
        grainy(range(8)),
        model="filtering",
        foresee=True,
    ),
    **{
        f"filtered-q{quality}": plain(
            f"filtered, quality {quality}, adaptive contexts",
            grainy(range(4)),
            model="filtering",
            predictor="adaptive",
            quality=quality,
        )
        for quality in (1, 5)
    },
    "filtered-deep": plain(
        "filtered, a post-filter of four blocks", grainy(range(3)), model="filtering-deep", predictor="adaptive"
    ),
    "filtered-embedded": plain(
        "filtered, the model embedded",
        grainy(range(3), 16, 12),
        model="filtering",
        predictor="adaptive",
        embed_model=True,
    ),
    "audio-aac": Recipe("palette with an AAC track", lambda shop: shop.encode(with_sound(shop, "aac"))),
    "audio-opus": Recipe("palette with an Opus track", lambda shop: shop.encode(with_sound(shop, "libopus"))),
}
