"""What code grids take, estimated on short stretches of the footage."""

import copy

import numpy as np

from pacodec.base_layer.choice import Footage, GridTrial, GridTrials
from pacodec.base_layer.encoders import Stretch
from pacodec.gop.choose import Choice
from pacodec.gop.coding import CodedGop, GopEncoding, LatentBatch, encode_gop
from pacodec.gop.priors import model_prior
from pacodec.gop.rate_distortion import candidates
from pacodec.metrics import Distortion
from pacodec.options import EncodeOptions

_PIXELS = 6_000_000
"""Pixels that are coded, at most: some seconds."""


def grid_trials(choice: Choice, options: EncodeOptions) -> GridTrials:
    """Tries the way over code grids that was chosen."""

    def trial(footage: Footage) -> GridTrial | None:
        transform = copy.deepcopy(choice.transform)  # what it learns here must not count
        prior = model_prior(choice.model, transform.spec)
        encoding = GopEncoding(transform, prior, candidates(choice.exchange, 1), fallback=False)
        keys = others = frames = 0
        lost = Distortion()
        height, width = footage.stretches[0][0][1].shape[:2]
        most = max(1, _PIXELS // (height * width * len(footage.stretches)))
        for stretch in footage.stretches:
            part = stretch[:most]
            first, whole = (_coded(encoding, pictures) for pictures in (part[:1], part))
            keys += len(first.payload)
            others += len(whole.payload) - len(first.payload)
            frames += len(part) - 1
            lost += whole.distortion
        count = len(footage.stretches)
        size = keys / count + max(0, footage.frames - 1) * others / max(1, frames)
        return GridTrial(size, lost.psnr, not lost.total)

    return trial


def _coded(encoding: GopEncoding, stretch: Stretch) -> CodedGop:
    pictures = np.stack([rgb for _, rgb in stretch])
    latents = encoding.transform.analyse(pictures)
    batch = LatentBatch(lambda: latents, np.arange(len(pictures)), pictures)
    coded = encode_gop(encoding, iter([batch]))
    encoding.transform.additions()
    return coded
