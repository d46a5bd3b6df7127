"""`pacodec decode`."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from pacodec.cli import options
from pacodec.cli.run import ProgressLine, print_json, say, size
from pacodec.errors import CorruptFileError
from pacodec.naming import naming

if TYPE_CHECKING:
    from pacodec.export import DecodeReport


@click.command(epilog="Example: pacodec decode play.pac play.mp4 --start 10 --end 20")
@click.argument("source", metavar="IN.pac")
@click.argument("target", metavar="OUT")
@click.option("-m", "--model", help="The model's name or file, where it is not found by itself.")
@click.option("--start", type=float, default=0.0, metavar="SECONDS", help="Begin with the frame shown then.")
@click.option("--end", type=float, metavar="SECONDS", help="Stop before this time.")
@click.option("--crf", type=click.IntRange(0, 51), default=18, show_default=True, help="x264's quality of the output.")
@click.option("--lossless", is_flag=True, help="Write H.264 that keeps every RGB value.")
@click.option(
    "--copy/--no-copy", default=None, help="Write packets of a standard codec as they are  [where that is possible]."
)
@click.option("--no-audio", is_flag=True, help="Leave the audio tracks out.")
@click.option("--keep-going", is_flag=True, help="Write what survives of a damaged file, and end with 3.")
@options.device
@options.jobs
@options.overwrite
@options.as_json
def command(
    source: str,
    target: str,
    model: str | None,
    start: float,
    end: float | None,
    crf: int,
    lossless: bool,
    copy: bool | None,
    no_audio: bool,
    keep_going: bool,
    device: str,
    jobs: int | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Turn a .pac file back into a video: H.264 in what OUT's suffix says (mp4, mov, mkv). '-' is a standard stream."""
    from pacodec.export import decode

    progress = ProgressLine("decoding")
    report = decode(
        source,
        target,
        model=model,
        start=start,
        end=end,
        crf=crf,
        lossless=lossless,
        copy=copy,
        audio=not no_audio,
        keep_going=keep_going,
        device=device,
        jobs=jobs,
        overwrite=overwrite,
        progress=progress,
    )
    progress.clear()
    for line in report.damage:
        say(f"damaged: {line}")
    if as_json and target != "-":
        print_json({"output": target, **asdict(report), "frames_per_second": report.frames / report.seconds})
    else:
        _show(source, target, report)
    if report.damage:
        lost = sum(loss.frames for loss in report.lost)
        missing = f"{lost} frames are lost" if lost else "no frame is known to be lost"
        with naming(source):
            raise CorruptFileError(f"damaged, {missing}; what is intact was written")


def _show(source: str, target: str, report: "DecodeReport") -> None:
    written = f", {size(report.bytes)}" if report.bytes is not None else ""
    say(f"{source} -> {target}: {report.frames} frames of {report.width}x{report.height}{written}")
    say(f"  speed    {report.frames / report.seconds:.0f} frames/s, {report.seconds:.1f} s")
