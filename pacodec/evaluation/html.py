"""One HTML file with everything in it: curves, tables, and a viewer with a slider between two versions of a frame."""

import base64
import json
from importlib.resources import files
from typing import Any

from pacodec.evaluation.plot import draw
from pacodec.evaluation.results import ClipResult, Evaluation
from pacodec.evaluation.tables import Table, clip_tables, tables

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
        f"{points.html()}{_together(others)}</section>"
    )


def _together(found: list[Table]) -> str:
    return "".join(table.html() for table in found)


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
