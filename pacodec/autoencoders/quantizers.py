"""Latents in [0, 1] to uint8 codes and back: the study's four quantizers, with the zero point that it lacked.

A quantizer's parameters are a plain mapping that travels with each GOP; decoding takes it from an untrusted file.
"""

import math
from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pacodec.errors import CorruptFileError, UsageError
from pacodec.transforms.base import Parameters

Latents = NDArray[np.float32]
"""float32 [n, C, h, w]."""
Codes = NDArray[np.uint8]
"""uint8 [n, bytes_per_value * C, h, w]."""

MAX_LEVELS = 256
HISTOGRAM_BINS = 1 << 16
LLOYD_ROUNDS = 50
PARTS = 255
"""Of the whole range, in which the scale quantizer tells a channel's."""
CHANNEL_VALUES = 200
"""Values a channel from which on it does: its range then takes at most a hundredth of the bytes of its codes."""
LEAST_STEP = 1e-12


class Quantizer(Protocol):
    """One way of turning latents into bytes."""

    @property
    def name(self) -> str:
        """The name that the header carries."""

    @property
    def bytes_per_value(self) -> int:
        """uint8 codes a latent value takes."""

    def fit(self, latents: Latents, levels: int) -> Parameters:
        """Parameters for a GOP's latents, with at most `levels` different codes."""

    def quantize(self, latents: Latents, parameters: Parameters) -> Codes:
        """Codes of latents."""

    def dequantize(self, codes: Codes, parameters: Parameters) -> Latents:
        """Latents of codes; CorruptFileError where the parameters are not this quantizer's."""


class NoQuantizer:
    """float32 values as four byte planes, least significant first: [n, 4 * C, h, w]."""

    name = "none"
    bytes_per_value = 4

    def fit(self, latents: Latents, levels: int) -> Parameters:
        return {}

    def quantize(self, latents: Latents, parameters: Parameters) -> Codes:
        """The bytes of each value, a plane for each."""
        n, channels, height, width = latents.shape
        planes = np.ascontiguousarray(latents, "<f4").view(np.uint8).reshape(n, channels, height, width, 4)
        return np.ascontiguousarray(np.moveaxis(planes, 4, 1)).reshape(n, 4 * channels, height, width)

    def dequantize(self, codes: Codes, parameters: Parameters) -> Latents:
        """The same values; what is no number at all in a hostile file becomes zero."""
        n, planes, height, width = codes.shape
        lattice = np.moveaxis(codes.reshape(n, 4, planes // 4, height, width), 1, 4)
        values = np.ascontiguousarray(lattice).view("<f4")[..., 0].astype(np.float32)
        return np.where(np.isfinite(values), values, np.float32(0))


class NaiveQuantizer:
    """round(255 x): supposes latents in [0, 1], which every architecture here bounds them to."""

    name = "naive"
    bytes_per_value = 1

    def fit(self, latents: Latents, levels: int) -> Parameters:
        return {}

    def quantize(self, latents: Latents, parameters: Parameters) -> Codes:
        """Values outside [0, 1] are clipped."""
        codes: Codes = np.rint(np.clip(latents, 0, 1) * 255).astype(np.uint8)
        return codes

    def dequantize(self, codes: Codes, parameters: Parameters) -> Latents:
        """Latents x = q / 255 of codes q."""
        return codes.astype(np.float32) / np.float32(255)


class ScaleQuantizer:
    """A linear map of [low, high] to 0..levels-1, so r = low + S q (the study's r = S q has no zero point).

    Each channel has its own part of that range where a GOP has so many values that telling it costs little: components
    of a fixed screen fill a range that training saw, and a GOP rarely all of it. (vanilla-1000 loses 0.26 dB instead of
    0.42, in files an eighth larger; conv4 loses nothing either way, and its files grow by a hundredth.)
    """

    name = "scale"
    bytes_per_value = 1

    def fit(self, latents: Latents, levels: int) -> Parameters:
        """The range of the values, and of each channel's in it."""
        low, high = float(latents.min()), float(latents.max())
        whole = {"low": low, "high": high, "levels": _checked_levels(levels)}
        if latents[:, 0].size < CHANNEL_VALUES or high == low:
            return whole
        bounds = np.stack([latents.min((0, 2, 3)), latents.max((0, 2, 3))], 1).astype(np.float64)
        parts = (bounds - low) * (PARTS / (high - low))
        outward = np.stack([np.floor(parts[:, 0]), np.ceil(parts[:, 1])], 1).clip(0, PARTS)
        return {**whole, "channels": outward.astype(np.uint8).tobytes()}

    def quantize(self, latents: Latents, parameters: Parameters) -> Codes:
        """The number of the nearest level of each value."""
        low, step = self._affine(parameters, latents.shape[1])
        steps = np.rint((latents - low) / step)
        codes: Codes = np.clip(steps, 0, parameters["levels"] - 1).astype(np.uint8)
        return codes

    def dequantize(self, codes: Codes, parameters: Parameters) -> Latents:
        """Latents R = low + S q of codes q, where S is the step of the channel."""
        low, step = self._affine(parameters, codes.shape[1])
        return low + codes.astype(np.float32) * step

    @staticmethod
    def _affine(parameters: Parameters, channels: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Lowest value and step, float32 [1 or channels, 1, 1]."""
        low, high, levels = (parameters.get(key) for key in ("low", "high", "levels"))
        if not (isinstance(low, float) and isinstance(high, float) and isinstance(levels, int)):
            raise CorruptFileError("the scale quantizer's parameters are missing or malformed")
        if not (math.isfinite(low) and math.isfinite(high) and 2 <= levels <= MAX_LEVELS and -1e6 < low <= high < 1e6):
            raise CorruptFileError("the scale quantizer's parameters are out of range")
        parts = parameters.get("channels", bytes([0, PARTS]))
        if not isinstance(parts, bytes) or len(parts) not in (2, 2 * channels):
            raise CorruptFileError("the ranges of the scale quantizer's channels are malformed")
        first, last = np.frombuffer(parts, np.uint8).astype(np.float64).reshape(-1, 2).T[..., None, None]
        if (first > last).any():
            raise CorruptFileError("the ranges of the scale quantizer's channels are out of order")
        width = high - low
        step = np.maximum((last - first) / PARTS * width / (levels - 1), LEAST_STEP)
        return (low + first / PARTS * width).astype(np.float32), step.astype(np.float32)


class KMeansQuantizer:
    """Centroids of the values; a code is the index of the nearest, the codebook travels with the GOP."""

    name = "kmeans"
    bytes_per_value = 1

    def fit(self, latents: Latents, levels: int) -> Parameters:
        """The codebook as little-endian float32, ascending."""
        return {"codebook": kmeans_scalars(latents, _checked_levels(levels)).astype("<f4").tobytes()}

    def quantize(self, latents: Latents, parameters: Parameters) -> Codes:
        """The index of the nearest centroid: the boundaries lie half-way between neighbours."""
        codebook = self._codebook(parameters)
        return np.searchsorted((codebook[1:] + codebook[:-1]) / 2, latents).astype(np.uint8)

    def dequantize(self, codes: Codes, parameters: Parameters) -> Latents:
        """The centroids; CorruptFileError for a code beyond the codebook."""
        codebook = self._codebook(parameters)
        if codes.size and int(codes.max()) >= len(codebook):
            raise CorruptFileError("a code is beyond the k-means codebook")
        return codebook[codes]

    @staticmethod
    def _codebook(parameters: Parameters) -> NDArray[np.float32]:
        data = parameters.get("codebook")
        if not isinstance(data, bytes) or not 4 <= len(data) <= 4 * MAX_LEVELS or len(data) % 4:
            raise CorruptFileError("the k-means codebook is missing or malformed")
        codebook = np.frombuffer(data, "<f4").astype(np.float32)
        if not np.isfinite(codebook).all():
            raise CorruptFileError("the k-means codebook holds values that are no numbers")
        return codebook


QUANTIZERS: Mapping[str, Quantizer] = {
    quantizer.name: quantizer for quantizer in (NoQuantizer(), NaiveQuantizer(), ScaleQuantizer(), KMeansQuantizer())
}


def kmeans_scalars(values: NDArray[np.float32], k: int) -> NDArray[np.float64]:
    """At most k centroids of scalars, ascending, by Lloyd's algorithm on a histogram of 2^16 bins.

    It starts where a fine quantizer's levels lie, at density p(x)^(1/3) (Panter, Dite 1951; Gersho 1979), so few rounds
    are needed. Prefix sums make a round O(k log bins). Fewer than k distinct values come back as they are.
    """
    distinct = np.unique(values[:: max(1, values.shape[0] // 4)])
    if len(distinct) <= k:
        distinct = np.unique(values)
        if len(distinct) <= k:
            return distinct.astype(np.float64)
    low, high = float(values.min()), float(values.max())
    width = (high - low) / HISTOGRAM_BINS
    bins = ((values.ravel() - np.float32(low)) * np.float32(1 / width)).astype(np.int32)
    counts = np.bincount(np.minimum(bins, HISTOGRAM_BINS - 1), minlength=HISTOGRAM_BINS)
    centres = low + (np.arange(HISTOGRAM_BINS) + 0.5) * width
    mass = np.concatenate([[0], np.cumsum(counts)])
    moment = np.concatenate([[0.0], np.cumsum(counts * centres)])
    smooth = counts.reshape(-1, 64).mean(1).repeat(64)
    density = np.cumsum(np.cbrt(smooth))
    centroids = np.interp((np.arange(k) + 0.5) / k, density / density[-1], centres)
    for _ in range(LLOYD_ROUNDS):
        edges = np.searchsorted(centres, (centroids[1:] + centroids[:-1]) / 2)
        cuts = np.concatenate([[0], edges, [HISTOGRAM_BINS]])
        weight = np.diff(mass[cuts])
        moved = np.where(weight > 0, np.diff(moment[cuts]) / np.maximum(weight, 1), centroids)
        if np.abs(moved - centroids).max() < width / 8:
            break
        centroids = np.sort(moved)
    return np.asarray(centroids, np.float64)


def _checked_levels(levels: int) -> int:
    if not 2 <= levels <= MAX_LEVELS:
        raise UsageError(f"{levels} quantization levels; 2 to {MAX_LEVELS} are possible")
    return levels
