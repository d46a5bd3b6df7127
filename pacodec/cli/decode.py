"""`pacodec decode`."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from pacodec.cli import options
from pacodec.cli.run import ProgressLine, ending_after, print_json, say, size
from pacodec.common.files import naming
from pacodec.errors import CorruptFileError

if TYPE_CHECKING:
    from pacodec.export import DecodeReport


@click.command(epilog="Example: pacodec decode play.pac play.mp4 --start 10 --end 20")
@click.argument("source", type=options.PATH, metavar="IN.pac")
@click.argument("target", type=options.PATH, metavar="OUT")
@click.option("-m", "--model", type=options.PATH, help="The model's name or file, where it is not found by itself.")
@click.option("--start", type=float, default=0.0, metavar="SECONDS", help="Begin with the frame shown then.")
@click.option("--end", type=float, metavar="SECONDS", help="Stop before this time.")
@click.option("--format", "container", metavar="SUFFIX", help="The kind of file, where OUT's suffix does not say it.")
@click.option("--crf", type=click.IntRange(0, 51), help="Write 4:2:0 of that quality of x264's [18].")
@click.option("--lossless", is_flag=True, help="Keep every RGB value [where few colours allow it].")
@click.option(
    "--copy/--no-copy", default=None, help="Write packets of a standard codec as they are  [where that is possible]."
)
@click.option("--no-audio", is_flag=True, help="Leave the audio tracks out.")
@click.option("--keep-going", is_flag=True, help="Write what survives of a damaged file, and end with 3.")
@options.device
@options.jobs
@options.time_limit
@options.overwrite
@options.as_json
def command(
    source: str,
    target: str,
    container: str | None,
    no_audio: bool,
    time_limit: float | None,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Turn a .pac file back into what OUT's suffix says. '-' is a standard stream.

    mp4, mov and mkv are H.264 with the sound: pictures of few colours are kept exactly (RGB, which browsers play),
    others get 4:2:0. gif, webp, apng and a picture a frame (%04d.png) are exact where they can be; y4m is for other
    programs.
    """
    from pacodec.export import decode

    progress = ProgressLine("decoding")
    with ending_after(time_limit, source):
        suffix = container.removeprefix(".").lower() if container else None
        report = decode(source, target, container=suffix, audio=not no_audio, progress=progress, **chosen)
    progress.clear()
    for line in report.damage:
        say(f"damaged: {line}")
    for line in report.notes:
        say(f"note: {line}")
    if as_json and target != "-":
        loss = report.distortion
        quality = loss and {"psnr": loss.psnr, "worst_psnr": loss.worst_psnr, "frames": loss.frames}
        speed = {"frames_per_second": report.frames / report.seconds}
        print_json({"output": target, **asdict(report), "distortion": quality, "exact": loss is None, **speed})
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
    loss = report.distortion
    quality = "exact"
    if loss is not None:
        worst = f"worst frame {loss.worst_psnr:.2f} dB, {loss.frames} frames measured"
        quality = f"{loss.psnr:.2f} dB PSNR in RGB ({worst}); --lossless or .apng keeps every value"
    say(f"  output   {quality}")
    say(f"  speed    {report.frames / report.seconds:.0f} frames/s, {report.seconds:.1f} s")
