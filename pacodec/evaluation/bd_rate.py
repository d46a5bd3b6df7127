"""Curve against curve: BD-rate, the rate at a given quality, and when a model has paid for itself."""

import math
import warnings
from collections.abc import Callable, Sequence

import bjontegaard
import numpy as np

from pacodec.evaluation.results import BdRate, BreakEven, CurveResult, EqualPsnr, Point

MIN_POINTS = 3
MIN_OVERLAP = 0.1
"""Share of the two curves' whole range of PSNR that they must have in common."""


def mean_psnr(point: Point) -> float:
    """The mean over frames of each frame's PSNR, in dB."""
    return point.measurement.quality.psnr


def pooled_psnr(point: Point) -> float:
    """The PSNR of the squared error pooled over all frames, in dB."""
    return point.measurement.quality.distortion.psnr


def front(points: Sequence[Point], psnr: Callable[[Point], float] = mean_psnr) -> list[Point]:
    """The lossy points that no other one beats in both size and PSNR, smallest first."""
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (p.measurement.bytes, -psnr(p))):
        exact = point.measurement.quality.exact
        if not exact and (not best or psnr(point) > psnr(best[-1])):
            best.append(point)
    return best


def bd_rate(curve: Sequence[Point], anchor: Sequence[Point]) -> BdRate:
    """Bjontegaard's mean difference of rate by Akima interpolation of log rate over PSNR, on the curves' fronts."""
    tested, base = front(curve), front(anchor)
    if min(len(tested), len(base)) < MIN_POINTS:
        return BdRate(None, reason=f"under {MIN_POINTS} lossy points", instead=equal_psnr(tested, base))
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
            reason = f"too little in common: {' and '.join(spans)}"
            return BdRate(None, reason=reason, instead=equal_psnr(tested, base))
    return BdRate(float(percent), low, high)


def equal_psnr(curve: Sequence[Point], anchor: Sequence[Point]) -> EqualPsnr | None:
    """The difference of rate in the middle of the PSNR that two curves have in common.

    Where they have none, a bound: the better one needs no more for a PSNR under its range than at its smallest point.
    None where a curve has no lossy point, and where the one of less PSNR is also smaller, which bounds nothing.
    """
    tested, base = front(curve), front(anchor)
    if not tested or not base:
        return None
    (low, high), (base_low, base_high) = ((mean_psnr(points[0]), mean_psnr(points[-1])) for points in (tested, base))
    middle = (max(low, base_low) + min(high, base_high)) / 2
    rate, base_rate = rate_at(tested, middle), rate_at(base, middle)
    if rate is not None and base_rate is not None:
        return EqualPsnr(middle, _percent(rate, base_rate))
    if low > base_high:
        percent, psnr, bound = _percent(tested[0].kbps, base[-1].kbps), base_high, "at most"
    else:
        percent, psnr, bound = _percent(tested[-1].kbps, base[0].kbps), high, "at least"
    return EqualPsnr(psnr, percent, bound) if (percent < 0) == (bound == "at most") else None


def rate_at(points: Sequence[Point], wanted: float, psnr: Callable[[Point], float] = mean_psnr) -> float | None:
    """Kbit/s at which a curve has a PSNR, log rate being linear between neighbours; None beyond its ends."""
    best = front(points, psnr)
    if not best or not psnr(best[0]) <= wanted <= psnr(best[-1]):
        return None
    rates, values = _coordinates(best, psnr)
    return math.exp(np.interp(wanted, values, np.log(rates)))


def bytes_at(curve: CurveResult, like: Point) -> float | None:
    """Bytes that a curve takes for the pooled PSNR of a point, or to be exact as it is; None where it cannot."""
    exact = [point.measurement.bytes for point in curve.points if point.measurement.quality.exact]
    if like.measurement.quality.exact:
        return min(exact, default=None)
    rate = rate_at(curve.points, pooled_psnr(like), pooled_psnr)
    return None if rate is None else like.measurement.bytes * rate / like.kbps


def break_even(point: Point, peers: Sequence[CurveResult]) -> BreakEven:
    """When a point of ours, model included, is smaller than the best peer of the same PSNR (exact, where it is)."""
    rivals: list[tuple[float, str]] = []
    for peer in peers:
        if point.measurement.quality.exact:
            rivals += [(other.kbps, peer.name) for other in peer.points if other.measurement.quality.exact]
        elif (rate := rate_at(peer.points, mean_psnr(point))) is not None:
            rivals.append((rate, peer.name))
    if not rivals:
        return BreakEven(None, None, None)
    kbps, name = min(rivals)
    saved = (kbps - point.kbps) * 1000 * 60 / 8
    return BreakEven(name, kbps, point.model_bytes / saved if saved > 0 else None)


def _coordinates(points: Sequence[Point], psnr: Callable[[Point], float] = mean_psnr) -> tuple[np.ndarray, np.ndarray]:
    return np.array([point.kbps for point in points]), np.array([psnr(point) for point in points])


def _percent(rate: float, anchor: float) -> float:
    return 100 * (rate / anchor - 1)
