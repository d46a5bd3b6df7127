"""A comparison from clips to results."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import av

from pacodec import __version__
from pacodec.errors import UsageError
from pacodec.evaluation.bd_rate import bd_rate, break_even
from pacodec.evaluation.clips import Clip, prepare
from pacodec.evaluation.curves import DEFAULT_MODEL, Curve, chosen_peers, default_families, pacodec_curve, peer_curve
from pacodec.evaluation.matrix import Cache, CodingTask, Matrix, Measurement, Progress, Timing, default_folder
from pacodec.evaluation.results import ClipResult, CurveResult, Evaluation, Point
from pacodec.evaluation.viewer import View, matching, view
from pacodec.gop.parallel import cores

REPEATS = 3


def evaluate(
    clips: Sequence[str],
    *,
    models: Sequence[str] = (DEFAULT_MODEL,),
    peers: Sequence[str] | None = None,
    size: tuple[int, int] | None = None,
    frames: int | None = None,
    repeats: int = REPEATS,
    device: str = "auto",
    jobs: int | None = None,
    cache: Path | None = None,
    with_view: bool = False,
    progress: Progress = lambda done, total, name: None,
) -> Evaluation:
    """Code the clips with our models and the peers, and compare size, quality, speed and memory.

    `models` are names or paths, "default" being what `encode` does without one; `peers` families of encoders (None: all
    that are here). `size` (width, height) and `frames` (the first so many) say what is coded. Sizes and qualities are
    measured `jobs` at a time; then speeds, `repeats` times (0: not at all), one at a time on one core. Results are kept
    in the folder `cache`, by default one in the user's cache folder. `with_view` keeps pictures for the HTML report,
    and codes the peers once more at the size of ours.

    Raises UsageError for an unknown peer, what `prepare` raises for a clip, ModelError for a model, PacodecError naming
    the measurement that failed.
    """
    if not clips or not models:
        raise UsageError("nothing to compare: a clip and a model are needed")
    families = default_families() if peers is None else peers
    rivals = chosen_peers(families)
    ours = [pacodec_curve(name, device) for name in dict.fromkeys(models)]
    matrix = Matrix(Cache(cache or default_folder()), jobs or cores(), progress)
    with tempfile.TemporaryDirectory(prefix="pacodec-eval-") as scratch:
        plans: list[tuple[Clip, list[Curve]]] = []
        for number, path in enumerate(clips):
            folder = Path(scratch, str(number))
            folder.mkdir()
            clip = prepare(path, folder, size=size, frames=frames)
            plans.append((clip, [*ours, *(peer_curve(peer, clip) for peer in rivals)]))
        matrix.total = sum(_cost(curves, repeats, with_view) for _, curves in plans)
        tasks = [
            CodingTask(clip, curve, setting) for clip, curves in plans for curve in curves for setting in curve.settings
        ]
        measured = matrix.measure(tasks)
        results = [_clip_result(matrix, clip, curves, measured, repeats, with_view) for clip, curves in plans]
    settings = {
        "size": size,
        "first_frames": frames,
        "peers": list(families),
        "pacodec": __version__,
        "pyav": av.__version__,
    }
    return Evaluation(results, settings)


def _cost(curves: Sequence[Curve], repeats: int, with_view: bool) -> int:
    """Measurements that a clip takes."""
    points = sum(len(curve.settings) for curve in curves)
    shown = sum(curve.ours or curve.at is not None for curve in curves) if with_view else 0
    return points + 2 * repeats * len(curves) + shown


def _clip_result(
    matrix: Matrix,
    clip: Clip,
    curves: Sequence[Curve],
    measured: Mapping[str, Measurement],
    repeats: int,
    with_view: bool,
) -> ClipResult:
    references = [CodingTask(clip, curve, curve.settings[curve.reference]) for curve in curves]
    timings: list[Timing] | list[None] = [None] * len(curves)
    if repeats:
        timings = matrix.time(references, measured, repeats)
    results = []
    for curve, timing in zip(curves, timings, strict=True):
        points = []
        for setting in curve.settings:
            measurement = measured[CodingTask(clip, curve, setting).key]
            points.append(Point(setting.label, clip.kbps(measurement.bytes), measurement))
        results.append(CurveResult(curve.name, curve.ours, points, curve.reference, timing))
    rivals = [result for result in results if not result.ours]
    results = [_with_break_even(result, rivals) if result.ours else result for result in results]
    bd_rates = {
        result.name: {anchor.name: bd_rate(result.points, anchor.points) for anchor in results if anchor is not result}
        for result in results
        if result.ours
    }
    shown = _view(matrix, clip, curves, references, measured) if with_view else None
    return ClipResult(clip, results, bd_rates, shown)


def _with_break_even(result: CurveResult, rivals: Sequence[CurveResult]) -> CurveResult:
    points = [replace(point, break_even=break_even(point, rivals)) for point in result.points]
    return replace(result, points=points)


def _view(
    matrix: Matrix,
    clip: Clip,
    curves: Sequence[Curve],
    references: Sequence[CodingTask],
    measured: Mapping[str, Measurement],
) -> View:
    wanted = measured[references[0].key].bytes
    shown = []
    for curve, reference in zip(curves, references, strict=True):
        if curve.ours:
            shown.append(reference)
        elif curve.at is not None:
            tried = [measured[CodingTask(clip, curve, setting).key] for setting in curve.settings[: len(curve.rates)]]
            shown.append(CodingTask(clip, curve, matching(curve.at, curve.rates, tried, wanted)))
    found = matrix.measure(shown)
    return view(clip, [(task, found[task.key]) for task in shown])
