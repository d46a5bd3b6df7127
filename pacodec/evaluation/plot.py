"""The curves as a picture."""

import io
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, ScalarFormatter

from pacodec.evaluation.bd_rate import front
from pacodec.evaluation.results import ClipResult, CurveResult, Point

PEER_COLOURS = {"x264": "#3366aa", "x265": "#44bbcc", "VP9": "#e69f00", "SVT": "#228833", "libaom": "#88bb44"}
OUR_COLOURS = ("#cc3311", "#aa3377", "#882255", "#dd7711")
OTHER_COLOUR = "#777777"


def draw(clips: Sequence[ClipResult], format: str) -> bytes:
    """PSNR over rate of every curve, a panel a clip, as "png" or "svg"; exact points stand on the upper edge."""
    figure = Figure(figsize=(9, 5.5 * len(clips)), layout="constrained")
    panels = figure.subplots(len(clips), 1, squeeze=False)[:, 0]
    for panel, clip in zip(panels, clips, strict=True):
        lossy = [p.measurement.quality.psnr for curve in clip.curves for p in curve.lossy()]
        top = max(lossy, default=50.0) + 3
        ours = 0
        for curve in clip.curves:
            colour = OUR_COLOURS[ours % len(OUR_COLOURS)] if curve.ours else _peer_colour(curve.name)
            ours += curve.ours
            line = front(curve.points)
            style = "--" if "4:2:0" in curve.name else "-"
            width = 2.4 if curve.ours else 1.2
            panel.plot(*_coordinates(line), style, color=colour, linewidth=width, label=_label(curve))
            panel.plot(*_coordinates(curve.lossy()), "o", color=colour, markersize=5 if curve.ours else 3)
            exact = [p.kbps for p in curve.points if p.measurement.quality.exact]
            panel.plot(exact, [top] * len(exact), "*", color=colour, markersize=9)
        panel.set(xscale="log", xlabel="kbit/s", ylabel="PSNR in RGB, dB (mean over frames)", title=clip.clip.name)
        panel.xaxis.set_major_formatter(ScalarFormatter())
        panel.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
        panel.axhline(top, color="#dddddd", linewidth=0.8, zorder=0)
        panel.annotate("exact", (0.005, top), xycoords=("axes fraction", "data"), va="bottom", fontsize=8)
        panel.grid(which="both", color="#eeeeee")
        panel.legend(fontsize=8)
    target = io.BytesIO()
    figure.savefig(target, format=format, dpi=130)
    return target.getvalue()


def _coordinates(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [p.kbps for p in points], [p.measurement.quality.psnr for p in points]


def _label(curve: CurveResult) -> str:
    return curve.name if curve.lossy() else f"{curve.name} (exact)"


def _peer_colour(name: str) -> str:
    return next((colour for start, colour in PEER_COLOURS.items() if name.startswith(start)), OTHER_COLOUR)
