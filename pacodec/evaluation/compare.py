"""Curve against curve: BD-rate, the rate at a given quality, and when a model has paid for itself."""

import math
import warnings
from collections.abc import Sequence
from itertools import pairwise

import bjontegaard
import numpy as np

from pacodec.evaluation.results import BdRate, BreakEven, CurveResult, Point

MIN_POINTS = 3
MIN_OVERLAP = 0.1
"""Share of the two curves' whole range of PSNR that they must have in common."""


def front(points: Sequence[Point]) -> list[Point]:
    """The lossy points that no other one beats in both size and PSNR, smallest first."""
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (p.measurement.bytes, -p.measurement.quality.psnr)):
        exact = point.measurement.quality.exact
        if not exact and (not best or point.measurement.quality.psnr > best[-1].measurement.quality.psnr):
            best.append(point)
    return best


def bd_rate(curve: Sequence[Point], anchor: Sequence[Point]) -> BdRate:
    """Bjontegaard's mean difference of rate by Akima interpolation of log rate over PSNR, on the curves' fronts."""
    tested, base = front(curve), front(anchor)
    if min(len(tested), len(base)) < MIN_POINTS:
        return BdRate(None, reason=f"under {MIN_POINTS} lossy points")
    rates, psnrs = zip(*(_coordinates(points) for points in (base, tested)), strict=True)
    low, high = max(min(values) for values in psnrs), min(max(values) for values in psnrs)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            percent = bjontegaard.bd_rate(
                rates[0], psnrs[0], rates[1], psnrs[1], "akima", require_matching_points=False, min_overlap=MIN_OVERLAP
            )
        except UserWarning:
            spans = (f"{min(values):.1f} to {max(values):.1f} dB" for values in reversed(psnrs))
            return BdRate(None, reason=f"too little in common: {' and '.join(spans)}")
    return BdRate(float(percent), low, high)


def rate_at(points: Sequence[Point], psnr: float) -> float | None:
    """Kbit/s at which a curve has that PSNR, log rate being linear between neighbours; None beyond its ends."""
    for below, above in pairwise(front(points)):
        low, high = below.measurement.quality.psnr, above.measurement.quality.psnr
        if low <= psnr <= high:
            part = (psnr - low) / (high - low)
            return math.exp((1 - part) * math.log(below.kbps) + part * math.log(above.kbps))
    return None


def break_even(point: Point, peers: Sequence[CurveResult]) -> BreakEven:
    """When a point of ours, model included, is smaller than the best peer of the same PSNR (exact, where it is)."""
    rivals: list[tuple[float, str]] = []
    for peer in peers:
        if point.measurement.quality.exact:
            rivals += [(other.kbps, peer.name) for other in peer.points if other.measurement.quality.exact]
        elif (rate := rate_at(peer.points, point.measurement.quality.psnr)) is not None:
            rivals.append((rate, peer.name))
    if not rivals:
        return BreakEven(None, None, None)
    kbps, name = min(rivals)
    saved = (kbps - point.kbps) * 1000 * 60 / 8
    return BreakEven(name, kbps, point.model_bytes / saved if saved > 0 else None)


def _coordinates(points: Sequence[Point]) -> tuple[np.ndarray, np.ndarray]:
    rates = np.array([point.kbps for point in points])
    return rates, np.array([point.measurement.quality.psnr for point in points])
