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
    step = np.float32(max((high - low) / (levels - 1), 1e-12))
    return np.float32(low) + codes.astype(np.float32) * step
