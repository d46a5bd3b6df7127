"""Results as an HTML report, and the curves in it as a picture."""

import base64
import io
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, ScalarFormatter

from pacodec.evaluation.bd_rate import front
from pacodec.evaluation.results import ClipResult, Evaluation, Point
from pacodec.evaluation.tables import clip_tables, tables

TEMPLATE = "report.html"


def render(evaluation: Evaluation) -> str:
    """The report; needs no other file and no network."""
    per_clip = sum(len(clip_tables(clip)) for clip in evaluation.clips)
    page = files("pacodec.evaluation").joinpath(TEMPLATE).read_text("utf-8")
    body = "".join(_section(number, clip) for number, clip in enumerate(evaluation.clips))
    body += "".join(table.html() for table in tables(evaluation)[per_clip:])
    # "</" would end the script element from inside a string.
    data = json.dumps([_viewer(clip) for clip in evaluation.clips]).replace("</", "<\\/")
    return page.replace("<!--BODY-->", body).replace("/*DATA*/", data)


def _section(number: int, result: ClipResult) -> str:
    drawn = draw([result], "svg").decode()
    svg = drawn[drawn.index("<svg") :]
    points, *others = clip_tables(result)
    return (
        f'<section><div class="viewer" data-clip="{number}"></div><figure>{svg}</figure>'
        f"{''.join(table.html() for table in (points, *others))}</section>"
    )


def _viewer(result: ClipResult) -> dict[str, Any]:
    """What the viewer's script needs."""
    frames = result.view.frames if result.view else []
    return {
        "name": result.clip.name,
        "width": result.clip.width,
        "height": result.clip.height,
        "frames": [
            {
                "number": frame.number,
                "versions": [
                    {
                        "name": shown.name,
                        "psnr": shown.psnr,
                        "src": "data:image/png;base64," + base64.b64encode(shown.png).decode(),
                    }
                    for shown in frame.versions
                ],
            }
            for frame in frames
        ],
    }


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
            panel.plot(
                *_coordinates(line),
                style,
                color=colour,
                linewidth=width,
                label=curve.name if curve.lossy() else f"{curve.name} (exact)",
            )
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


def _peer_colour(name: str) -> str:
    return next((colour for start, colour in PEER_COLOURS.items() if name.startswith(start)), OTHER_COLOUR)
