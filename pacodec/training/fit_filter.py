"""Fitting the post-filter: of pictures and their codes, how far the pictures are from the colours, by neighbourhood."""

import numpy as np
from numpy.typing import NDArray

from pacodec.common.metrics import psnr
from pacodec.training.footage import CodedFootage, Pairs
from pacodec.transforms.postfilter import (
    KEY_BITS,
    MAX_ENTRIES,
    NEIGHBOURHOODS,
    Entries,
    Neighbourhood,
    PostFilter,
    with_border,
)

PRIOR_COUNT = 2.0
"""Pixels that what a more general neighbourhood says counts as (additive smoothing)."""
LEAST_COUNT = 3
"""Pixels that an entry must have been seen at."""
LEAST_GAIN = 10.0
"""Squared error of 8-bit levels, in each of the pictures learned from, that an entry must save."""
_KEYS = 1 << KEY_BITS
_AT_ONCE = 64
"""Pictures that are summed up at a time."""


def fit_filter(pairs: Pairs, palette: NDArray[np.uint8]) -> PostFilter:
    """The post-filter that pairs of pictures and codes make, with a palette of uint8 [K, 3]."""
    foreseen = [np.zeros(picture.shape, np.int8) for picture in pairs.pictures]
    """What the neighbourhoods so far say of each pixel."""
    levels = []
    for neighbourhood in NEIGHBOURHOODS:
        keys = [_keys(neighbourhood, codes) for codes in pairs.codes]
        counts = np.zeros(_KEYS)
        errors, guesses = np.zeros((2, 3, _KEYS))
        for first in range(0, len(pairs), _AT_ONCE):
            part = slice(first, first + _AT_ONCE)
            known = np.concatenate(keys[part])
            counts += np.bincount(known, minlength=_KEYS)
            missing = np.stack(pairs.pictures[part]).astype(np.int16) - palette[np.stack(pairs.codes[part])]
            for sums, values in ((errors, missing), (guesses, np.stack(foreseen[part]))):
                for channel in range(3):
                    sums[channel] += np.bincount(known, values[..., channel].ravel(), _KEYS)
        levels.append(_entries(counts, errors, guesses, len(pairs)))
        for each, guess in zip(keys, foreseen, strict=True):
            found, corrections = levels[-1].find(each)
            guess[found.reshape(guess.shape[:2])] = corrections
    height, width = pairs.codes[0].shape
    return PostFilter(levels, (height, width))


def _keys(neighbourhood: Neighbourhood, codes: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Of all pixels of a picture, row by row."""
    y, x = np.indices(codes.shape).reshape(2, -1)
    return neighbourhood.keys(with_border(codes), y, x)


def _entries(
    counts: NDArray[np.float64], errors: NDArray[np.float64], guesses: NDArray[np.float64], pictures: int
) -> Entries:
    """Those that save enough, of what was summed up by key: pixels [keys], what is missing and what is foreseen of that
    by more general neighbourhoods [3, keys].
    """
    seen = counts >= LEAST_COUNT
    n = counts[seen]
    mean, guess = errors[:, seen] / n, guesses[:, seen] / n
    value = np.rint((n * mean + PRIOR_COUNT * guess) / (n + PRIOR_COUNT)).clip(-128, 127)
    gain = n * (np.square(mean - guess) - np.square(mean - value)).sum(0)
    taken = gain >= LEAST_GAIN * pictures
    if taken.sum() > MAX_ENTRIES:
        taken &= gain > np.partition(gain, -MAX_ENTRIES - 1)[-MAX_ENTRIES - 1]
    return Entries(np.flatnonzero(seen)[taken].astype(np.int32), value[:, taken].T.astype(np.int8))


def filtered_psnr(postfilter: PostFilter, footage: CodedFootage) -> list[float]:
    """dB of each test clip through the post-filter as decoders have it."""
    values: dict[int, list[float]] = {}
    for picture, codes, clip in zip(footage.held.pictures, footage.held.codes, footage.held.clips, strict=True):
        shown = postfilter.filter(codes[None, None], footage.palette[codes][None])
        values.setdefault(clip, []).append(float(psnr(picture[None], shown)[0]))
    return [float(np.mean(of_clip)) for of_clip in values.values()]
