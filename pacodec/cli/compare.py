"""`pacodec compare`."""

import click

from pacodec.cli import options
from pacodec.cli.run import ProgressLine, print_json


@click.command(epilog="Example: pacodec compare play.mp4 play.pac")
@click.argument("first", type=options.PATH, metavar="A")
@click.argument("second", type=options.PATH, metavar="B")
@click.option("--no-ssim", is_flag=True, help="Leave SSIM out, which takes far longer than the rest.")
@options.as_json
def command(first: str, second: str, no_ssim: bool, as_json: bool) -> None:
    """Say how far video B is from video A, in RGB as FFmpeg shows it. Either may be a .pac file, or a sequence of
    pictures (%04d.png). Ends with 0 whatever it finds."""
    from pacodec.compare import compare

    progress = ProgressLine("comparing")
    found = compare(first, second, ssim=not no_ssim, progress=progress)
    progress.clear()
    loss = found.distortion
    if as_json:
        print_json(
            {
                "first": first,
                "second": second,
                "frames": found.frames,
                "exact": found.exact,
                "psnr": None if found.exact else loss.psnr,
                "worst_psnr": None if found.exact else loss.worst_psnr,
                "worst_frame": found.worst_frame,
                "ssim": found.mean_ssim,
                "time_difference": found.time_difference,
                "only_first": found.only_first,
                "only_second": found.only_second,
                "frame_psnr": found.psnr,
                "frame_ssim": found.ssim,
            }
        )
        return
    ssim = "" if found.mean_ssim is None else f", SSIM {found.mean_ssim:.5f} (worst {min(found.ssim):.5f})"
    worst = f"worst frame {loss.worst_psnr:.2f} dB (number {found.worst_frame})"
    quality = "exact" if found.exact else f"{loss.psnr:.2f} dB PSNR in RGB, {worst}"
    click.echo(f"{found.frames} frames: {quality}{ssim}")
    if found.time_difference:
        click.echo(f"times differ by up to {found.time_difference:.6f} s")
    for name, count in ((first, found.only_first), (second, found.only_second)):
        if count:
            click.echo(f"{name} has {count} frames more")
