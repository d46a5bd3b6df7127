"""Section "Quantizers"."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from independent.refusal import Unsupported, expect
from numpy.typing import NDArray

Latents = NDArray[np.float32]
"""[frames, channels, height, width]."""


def dequantize(name: str, parameters: Mapping[str, Any], codes: NDArray[np.uint8]) -> Latents:
    """Latents of codes [frames, channels, height, width]."""
    if name == "none":
        count, planes, height, width = codes.shape
        split = codes.reshape(count, 4, planes // 4, height, width)
        bits = sum(split[:, k].astype(np.uint32) << np.uint32(8 * k) for k in range(4))
        values: Latents = np.ascontiguousarray(bits).view(np.float32)
        return np.where(np.isfinite(values), values, np.float32(0))
    if name == "naive":
        return codes.astype(np.float32) / np.float32(255)
    if name == "scale":
        return _scale(parameters, codes)
    if name == "kmeans":
        data = parameters.get("codebook")
        expect(isinstance(data, bytes) and 4 <= len(data) <= 1024 and len(data) % 4 == 0, "the codebook is malformed")
        assert isinstance(data, bytes)
        codebook = np.frombuffer(data, "<f4").astype(np.float32)
        expect(bool(np.isfinite(codebook).all()), "the codebook holds values that are not finite")
        expect(int(codes.max()) < len(codebook), "a code is beyond the codebook")
        return codebook[codes]
    raise Unsupported(f"the quantizer {name} is unknown")


def _scale(parameters: Mapping[str, Any], codes: NDArray[np.uint8]) -> Latents:
    low, high, levels = (parameters.get(key) for key in ("low", "high", "levels"))
    typed = isinstance(low, float) and isinstance(high, float) and type(levels) is int
    expect(typed, "the range of the levels is missing")
    assert isinstance(low, float)
    assert isinstance(high, float)
    assert isinstance(levels, int)
    expect(-1e6 < low <= high < 1e6 and 2 <= levels <= 256, "the range of the levels is malformed")
    pairs = parameters.get("channels", b"\0\xff")
    expect(isinstance(pairs, bytes) and len(pairs) in (2, 2 * codes.shape[1]), "the channels' ranges are malformed")
    values = np.zeros(codes.shape, np.float32)
    for channel in range(codes.shape[1]):
        first, last = pairs[:2] if len(pairs) == 2 else pairs[2 * channel : 2 * channel + 2]
        expect(first <= last, "a channel's range ends before it begins")
        step = np.float32(max((last - first) / 255 * (high - low) / (levels - 1), 1e-12))
        start = np.float32(low + first / 255 * (high - low))
        values[:, channel] = start + codes[:, channel].astype(np.float32) * step
    return values
