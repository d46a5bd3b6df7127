"""Options that several commands take, worded once."""

import click

overwrite = click.option("-y", "--overwrite", is_flag=True, help="Overwrite the output if it exists.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
device = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where networks run.",
)
jobs = click.option(
    "-j", "--jobs", type=click.IntRange(1, 256), default=None, help="GOPs worked on at once [all cores]."
)
