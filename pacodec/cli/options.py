"""Options that several commands take, worded once."""

import click

from pacodec.errors import UsageError

PATH = click.Path()
"""What names a file or a folder, which shells then complete; whether it is there, the commands themselves say."""

overwrite = click.option("-y", "--overwrite", is_flag=True, help="Overwrite the output if it exists.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
device = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where networks run.",
)
time_limit = click.option(
    "--time-limit",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="End with exit code 5, and without an output, where it takes longer.",
)
jobs = click.option(
    "-j", "--jobs", type=click.IntRange(1, 256), default=None, help="GOPs worked on at once [all cores]."
)


def parse_size(text: str | None) -> tuple[int, int] | None:
    """(width, height) of text like 160x200; UsageError for any other."""
    if text is None:
        return None
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise UsageError(f"size {text!r} is not like 160x200")
    return int(width), int(height)
