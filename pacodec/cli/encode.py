"""`pacodec encode`."""

from dataclasses import asdict
from typing import Any

import click

from pacodec.cli import options
from pacodec.cli.run import ProgressLine, compared, print_json, say, size


@click.command(epilog="Example: pacodec encode play.mp4 play.pac --min-psnr 45")
@click.argument("source", type=options.PATH, metavar="IN")
@click.argument("target", type=options.PATH, metavar="OUT.pac")
@click.option("-m", "--model", type=options.PATH, help="A model's name or file; without it the footage decides.")
@click.option("-q", "--quality", type=click.IntRange(1, 5), help="1 smallest .. 5 best [4].")
@click.option("--lossless", is_flag=True, help="Keep every 8-bit RGB value.")
@click.option(
    "--quantizer", type=click.Choice(["none", "naive", "scale", "kmeans"]), help="Of an autoencoder's codes [scale]."
)
@click.option(
    "--coder",
    type=click.Choice(["engine", "none"]),
    help="How codes become bytes: the engine, or zstd of differences  [the smaller for each GOP].",
)
@click.option(
    "--min-psnr", type=float, metavar="DB", help="Use a higher quality where needed to reach this, or fail with 6."
)
@click.option(
    "--effort",
    type=click.IntRange(1, 3),
    default=2,
    show_default=True,
    help="1 reads the video once; 2 looks at all of it first; 3 searches more widely for cheaper codes.",
)
@click.option("--fps", type=float, metavar="RATE", help="Of a sequence of pictures (%04d.png, 'shots/*.png') [25].")
@click.option("--gop", "gop_seconds", type=float, metavar="SECONDS", help="No GOP is longer  [as content asks].")
@click.option("--no-audio", is_flag=True, help="Leave the audio tracks out.")
@click.option("--embed-model", is_flag=True, help="Put the model into the file.")
@click.option("--verify", is_flag=True, help="Decode all codes again before the file is put in its place.")
@click.option("--resume", is_flag=True, help="Keep what is done when interrupted, and go on from it.")
@options.device
@options.jobs
@options.overwrite
@options.as_json
def command(source: str, target: str, no_audio: bool, resume: bool, as_json: bool, **chosen: Any) -> None:
    """Compress a video (anything FFmpeg reads) into a .pac file. '-' is standard input or output."""
    from pacodec.encoder import encode
    from pacodec.gop.resume import PART_SUFFIX, can_go_on

    progress = ProgressLine("encoding")
    try:
        report = encode(source, target, audio=not no_audio, resume=resume, progress=progress, **chosen)
    except KeyboardInterrupt:
        if resume and can_go_on(target):
            say(f"the same command goes on from {target}{PART_SUFFIX}")
        elif resume:
            say("no GOP is kept, and those of a standard codec's packets never are: the same command begins anew")
        raise
    progress.clear()
    for warning in report.warnings:
        say(f"warning: {warning}")
    if as_json and target != "-":
        print_json(
            {
                "output": target,
                **asdict(report),
                "ratio": report.ratio,
                "frames_per_second": report.frames / report.seconds,
            }
        )
        return
    gops = ", ".join(f"{count} by {name}" for name, count in report.coders.items())
    codec = " + ".join(dict.fromkeys((report.model or report.transform, report.quantizer)))
    rate = f"{report.bytes * 8 / 1000 / report.duration:.1f} kbit/s" if report.duration else "no duration"
    original = f", {compared(report.bytes, report.source_bytes, 'the source file')}" if report.source_bytes else ""
    shape = f"{report.frames} frames of {report.width}x{report.height}"
    say(f"{source} -> {target}: {shape}, {report.repeats} of them repeats")
    say(f"  codec    {codec} ({report.reason})")
    say(f"  size     {size(report.bytes)}, {rate}; {compared(report.bytes, report.raw_bytes, 'raw RGB')}{original}")
    worst = f"worst frame {report.psnr_low:.2f} dB, {report.psnr_frames} frames measured"
    say("  quality  exact" if report.exact else f"  quality  {report.psnr:.2f} dB PSNR in RGB ({worst})")
    say(f"  speed    {report.frames / report.seconds:.0f} frames/s, {report.seconds:.1f} s; GOPs: {gops}")
