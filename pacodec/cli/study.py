"""`pacodec study`."""

from functools import partial
from pathlib import Path
from typing import Any

import click

from pacodec.cli import options
from pacodec.cli.run import print_json, say, say_training, size
from pacodec.errors import UsageError


@click.group(epilog="Example: pacodec study prepare web*.mkv -o data && pacodec study run data -o results")
def command() -> None:
    """Repeat the study that this project began with: its data set, its models, its table."""


@command.command(epilog="Example: pacodec study prepare web*.mkv -o data --every 1")
@click.argument("clips", type=options.PATH, metavar="CLIP...", nargs=-1, required=True)
@click.option("-o", "--output", type=options.PATH, required=True, metavar="DIR", help="The folder of the data set.")
@click.option("--val", "validation", type=options.PATH, multiple=True, metavar="CLIP", help="Validate on this clip.")
@click.option("--test", type=options.PATH, multiple=True, metavar="CLIP", help="Test on this clip.")
@click.option(
    "--every",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="Take every n-th frame to train on; of the others it is always every tenth.",
)
@options.as_json
def prepare(
    clips: tuple[str, ...], output: str, validation: tuple[str, ...], test: tuple[str, ...], every: int, as_json: bool
) -> None:
    """Make the data set: 160x200, split by recording, no frame twice. Repeat an interrupted command to go on."""
    from pacodec.study.dataset import ROLES
    from pacodec.study.dataset import prepare as make

    made = make(clips, Path(output), validation=validation, test=test, every=every, report=say)
    counts = {role: made.count(role) for role in ROLES}
    if as_json:
        print_json({"output": output, "frames": counts, "sha256": made.sha256})
        return
    say(f"{output}: " + ", ".join(f"{count} frames for {role}" for role, count in counts.items()))
    say(f"  {size(sum(each.bytes for each in made.recordings))}; {made.sha256[:16]}")


@command.command(epilog="Example: pacodec study run data -o results --rows conv4,vanilla-500/scale --budget 30")
@click.argument("folder", type=options.PATH, metavar="DIR")
@click.option("-o", "--output", type=options.PATH, required=True, metavar="DIR", help="Where tables and pictures go.")
@click.option("--rows", metavar="NAME,...", help="Networks, or NETWORK/QUANTIZER  [all].")
@click.option(
    "--budget",
    "minutes",
    type=float,
    default=150.0,
    show_default=True,
    metavar="MINUTES",
    help="For all training of these rows together, what was spent before included.",
)
@click.option("--start", metavar="DIR", help="Go on from the networks of this data set, instead of from nothing.")
@options.device
@options.as_json
def run(folder: str, output: str, start: str | None, as_json: bool, **chosen: Any) -> None:
    """Train what DIR lacks weights of, measure every row, and write the study's table with ours beside it.

    DIR is what `prepare` made; models and results of rows are kept there. Repeat an interrupted command to go on.
    """
    try:
        from pacodec.study.run import run as carry_out
    except ModuleNotFoundError as error:
        raise UsageError(f"{error.name} is missing: pip install 'pacodec[eval]'") from error
    results = carry_out(
        Path(folder),
        Path(output),
        start=Path(start) if start else None,
        report=partial(say_training, indent="  "),
        **chosen,
    )
    if as_json:
        print_json({"output": output, "rows": [result.to_dict() for result in results]})
        return
    say(f"{output}: {len(results)} rows in results.md and results.json")
