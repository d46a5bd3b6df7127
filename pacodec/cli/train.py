"""`pacodec train`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from pacodec.cli import options
from pacodec.cli.run import print_json, say, say_training
from pacodec.cli.run import size as readable


@click.command(epilog="Example: pacodec train day1.mp4 day2.mp4 day3.mp4 -o mygame.pacmodel")
@click.argument("clips", type=options.PATH, metavar="CLIP...", nargs=-1, required=True)
@click.option(
    "-o", "--output", type=options.PATH, required=True, metavar="NAME.pacmodel", help="The model file to write."
)
@click.option(
    "--arch",
    default="recording",
    show_default=True,
    help="recording (a palette, and the footage that helps most to foresee the rest), or an autoencoder of the study: "
    "vanilla-500, vanilla-1000, multilayer-500, multilayer-1000, conv4, conv5 or vae.",
)
@click.option("--minutes", type=float, help="How long to train an autoencoder  [15].")
@click.option("--steps", type=click.IntRange(1), help="Steps to train it, instead of minutes.")
@click.option("--size", metavar="WxH", help="Resize the clips [as they are; 160x200 for fixed-size networks].")
@click.option("--rank", type=click.IntRange(0), help="Rank of linear layers, 0 for full matrices [64; vae 256].")
@click.option("--val", "validation", type=options.PATH, multiple=True, metavar="CLIP", help="Validate on this clip.")
@click.option(
    "--test", type=options.PATH, multiple=True, metavar="CLIP", help="Hold this clip out for the final report."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of weights and batches.")
@options.device
@options.overwrite
@options.as_json
def command(clips: tuple[str, ...], output: str, size: str | None, as_json: bool, **chosen: Any) -> None:
    """Train a model on your own footage. Repeat an interrupted command to go on where it stopped."""
    from pacodec.training.request import CHECKPOINT_SUFFIX
    from pacodec.training.train import train

    try:
        report = train(clips, output, size=options.parse_size(size), report=say_training, **chosen)
    except KeyboardInterrupt:
        if Path(output + CHECKPOINT_SUFFIX).exists():
            say(f"the same command goes on from {output}{CHECKPOINT_SUFFIX}")
        raise
    if as_json:
        print_json({"output": output, **asdict(report)})
        return
    trained = f", {report.steps} steps" if report.steps else ""
    say(f"{output}: {report.arch}, {readable(report.model_bytes)}{trained}, made in {report.seconds:.0f} s")
    low = f"worst clip {report.psnr_low:.2f}" if report.bits else f"95% of them over {report.psnr_low:.2f} dB"
    say(f"  {report.psnr:.2f} dB PSNR on {report.test_frames} held-out frames ({low})")
    say(f"  {report.code_values} codes a frame; {report.split}")
    if report.bits:
        say("  bits a frame: " + ", ".join(f"{name} {bits:.0f}" for name, bits in report.bits.items()))
    say(f"  use it: pacodec encode IN.mp4 OUT.pac -m {output}")
