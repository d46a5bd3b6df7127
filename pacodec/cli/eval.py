"""`pacodec eval`."""

import json
from pathlib import Path
from typing import Any

import click

from pacodec.cli import options
from pacodec.cli.run import StatusLine, say
from pacodec.common.files import STANDARD_STREAM, check_target, write_whole
from pacodec.errors import UsageError


@click.command(epilog="Example: pacodec eval play.mp4 -m default -m conv4 --html report.html")
@click.argument("clips", type=options.PATH, metavar="CLIP...", nargs=-1, required=True)
@click.option(
    "-m",
    "--model",
    "models",
    multiple=True,
    default=("default",),
    help="A model to compare; 'default' is what encode does without one. May be repeated.  [default]",
)
@click.option(
    "--peers",
    metavar="NAME,...",
    help="Of base-layer, x264, x265, vp9, svtav1, aomenc; without loss x264rgb, ffv1, webp, zstd, xz; x264-sliced "
    "[all that are here but the last].",
)
@click.option("--size", metavar="WxH", help="Resize the clips (Lanczos).")
@click.option("--frames", type=click.IntRange(1), help="Compare only the first so many frames.")
@click.option(
    "--repeats", type=click.IntRange(0), default=3, show_default=True, help="How often speed is measured; 0 is not."
)
@click.option("--json", "json_target", metavar="FILE", help="Write all results as JSON.")
@click.option(
    "--html",
    "html_target",
    type=options.PATH,
    metavar="FILE",
    help="Write a report with curves, tables and a frame viewer.",
)
@click.option("--plot", "plot_target", metavar="FILE.png", help="Write the curves as a picture.")
@click.option("--cache", metavar="FOLDER", help="Where results are kept [~/.cache/pacodec/eval].")
@options.device
@click.option("-j", "--jobs", type=click.IntRange(1, 256), help="Points measured at once [all cores].")
@options.overwrite
def command(
    clips: tuple[str, ...],
    peers: str | None,
    size: str | None,
    json_target: str | None,
    html_target: str | None,
    plot_target: str | None,
    cache: str | None,
    overwrite: bool,
    **chosen: Any,
) -> None:
    """Compare with x264, x265, VP9 and AV1, and without loss with WebP, FFV1 and others, on your clips: size, quality,
    speed, memory. Repeat an interrupted command to go on where it stopped."""
    for target in filter(None, (json_target, html_target, plot_target)):
        check_target(target, overwrite=overwrite, sources=clips)
    try:
        from pacodec.evaluation.evaluate import evaluate
        from pacodec.evaluation.report import draw, render
        from pacodec.evaluation.tables import tables
    except ModuleNotFoundError as error:
        raise UsageError(f"{error.name} is missing: pip install 'pacodec[eval]'") from error
    progress = _MatrixLine()
    found = evaluate(
        clips,
        peers=peers.split(",") if peers is not None else None,
        size=options.parse_size(size),
        cache=Path(cache) if cache else None,
        with_view=html_target is not None,
        progress=progress,
        **chosen,
    )
    progress.clear()
    if json_target:
        _write(json_target, json.dumps(found.to_dict(), indent=1).encode())
    if html_target:
        _write(html_target, render(found).encode())
    if plot_target:
        _write(plot_target, draw(found.clips, "png"))
    if STANDARD_STREAM not in (json_target, html_target, plot_target):
        click.echo("\n\n".join(table.markdown() for table in tables(found)))


def _write(target: str, data: bytes) -> None:
    write_whole(target, data)
    if target != STANDARD_STREAM:
        say(f"wrote {target}")


class _MatrixLine(StatusLine):
    """Measurements done and time left."""

    def __call__(self, done: int, total: int, name: str) -> None:
        """Redraw."""
        self.draw(lambda s: f"measured {done} of {total}, {s * (total - done) / done:.0f} s left: {name}")
