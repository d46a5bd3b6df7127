"""`pacodec verify`."""

import click

from pacodec.cli import options
from pacodec.cli.run import ProgressLine, ending_after, print_json
from pacodec.errors import CorruptFileError
from pacodec.verification import verify


@click.command(epilog="Example: pacodec verify play.pac")
@click.argument("file", type=options.PATH, metavar="FILE.pac")
@click.option(
    "-m", "--model", type=options.PATH, help="The model that the file needs, where it is not found: a name or file."
)
@options.time_limit
@options.as_json
def command(file: str, model: str | None, time_limit: float | None, as_json: bool) -> None:
    """Check every byte of a .pac file, and that its codes decode here to what was encoded. Exit code 3 if not."""
    progress = ProgressLine("checking")
    with ending_after(time_limit, file):
        problems = verify(file, model=model, progress=progress)
    progress.clear()
    if as_json:
        print_json({"file": file, "ok": not problems, "problems": problems})
    else:
        for problem in problems:
            click.echo(f"  {problem}")
    if problems:
        raise CorruptFileError(f"{file}: {len(problems)} problem{'s' * (len(problems) > 1)} found")
    if not as_json:
        click.echo(f"{file}: good")
