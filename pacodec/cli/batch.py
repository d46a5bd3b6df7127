"""`pacodec batch`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pacodec.cli import options
from pacodec.cli.run import StatusLine, compared, print_json, say, say_training, size

if TYPE_CHECKING:
    from pacodec.folders import BatchItem, BatchReport


@click.command(
    epilog="Example: pacodec batch recordings -o small; "
    "pacodec batch 'day*/**/*.mkv' -o small --train-first --json; "
    "pacodec batch recordings -o small --dask tcp://scheduler:8786"
)
@click.argument("sources", type=options.PATH, metavar="IN...", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    type=options.PATH,
    required=True,
    metavar="DIR",
    help="Where the .pac files go, in folders as the inputs'.",
)
@click.option("-m", "--model", type=options.PATH, help="A model's name or file; without it the footage decides.")
@click.option("-q", "--quality", type=click.IntRange(1, 5), help="1 smallest .. 5 best [4].")
@click.option("--lossless", is_flag=True, help="Keep every 8-bit RGB value.")
@click.option("--min-psnr", type=float, metavar="DB", help="Use a higher quality where needed to reach this.")
@click.option("--effort", type=click.IntRange(1, 3), default=2, show_default=True, help="As of encode.")
@click.option("--no-audio", is_flag=True, help="Leave the audio tracks out.")
@click.option("--train-first", is_flag=True, help="Train a model on some of the videos, and encode all by it.")
@click.option("--dask", metavar="ADDRESS", help="Let the workers of that Dask cluster do it (pacodec[dask]).")
@click.option("-j", "--jobs", type=click.IntRange(1, 256), help="Videos encoded at once here [all cores].")
@click.option("-y", "--overwrite", is_flag=True, help="Encode anew what is done already.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each video, then one for all.")
def command(sources: tuple[str, ...], output: str, no_audio: bool, as_json: bool, **chosen: Any) -> int:
    """Compress folders of videos: IN is a video, a folder with all videos in it, or a pattern in quotes.

    What is done already is skipped, and what was interrupted is gone on with, so that the same command can be repeated.
    A video that fails does not stop the others; the exit code is then that of the first failure.
    """
    from pacodec.folders import batch

    done: list[BatchItem] = []
    line = StatusLine()

    def on_item(item: "BatchItem", total: int) -> None:
        done.append(item)
        if as_json:
            print_json(asdict(item))
        if item.error is not None:
            line.clear()
            say(f"failed: {item.error}")
        line.draw(lambda seconds: _progress(done, total, seconds))

    report = batch(sources, output, audio=not no_audio, on_item=on_item, on_training=say_training, **chosen)
    line.clear()
    counts = {status: report.count(status) for status in ("done", "skipped", "failed")}
    if as_json:
        totals = {"bytes": report.bytes, "source_bytes": report.source_bytes, "seconds": report.seconds}
        print_json({"output": output, "videos": len(report.items), **counts, **totals, "model": report.model})
    else:
        _show(report)
        parts = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        small = compared(report.bytes, report.source_bytes, "the videos") if report.bytes else "nothing written"
        say(f"{output}: {len(report.items)} videos ({parts}) in {report.seconds:.1f} s: {size(report.bytes)}, {small}")
        if report.model is not None:
            say(f"  decode them with -m {report.model}, or PACODEC_MODELS={Path(report.model).parent}")
    return report.exit_code


def _progress(done: "list[BatchItem]", total: int, seconds: float) -> str:
    """Of those that had to be encoded, which take the time."""
    worked = sum(item.status != "skipped" for item in done)
    left = f", {(total - len(done)) * seconds / worked:.0f} s left" if worked else ""
    return f"encoded {len(done)} of {total} videos{left}"


def _show(report: "BatchReport") -> None:
    """The table on stdout."""
    width = min(60, max(len("video"), *(len(item.source) for item in report.items)))
    click.echo(
        f"{'video':{width}}  {'':7}  {'frames':>7}  {'source':>9}  {'.pac':>9}  {'quality':>9}  {'worst':>9}  {'s':>6}"
    )
    for item in report.items:
        frames = quality = worst = ""
        if (made := item.report) is not None:
            frames = str(made.frames)
            quality, worst = ("exact",) * 2 if made.exact else (f"{made.psnr:.2f} dB", f"{made.psnr_low:.2f} dB")
        sizes = (size(item.source_bytes) if item.source_bytes else "", size(item.bytes) if item.bytes else "")
        seconds = f"{item.seconds:.1f}" if made is not None else ""
        name = item.source if len(item.source) <= width else "..." + item.source[3 - width :]
        click.echo(
            f"{name:{width}}  {item.status:7}  {frames:>7}  {sizes[0]:>9}  {sizes[1]:>9}  {quality:>9}  {worst:>9}  "
            f"{seconds:>6}"
        )
