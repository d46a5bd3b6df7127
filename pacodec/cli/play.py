"""`pacodec play`."""

import contextlib
import webbrowser

import click

from pacodec.cli import options
from pacodec.cli.run import print_json, say


@click.command(epilog="Example: pacodec play play.pac --no-browser --port 8000")
@click.argument("file", type=options.PATH, metavar="FILE.pac")
@click.option(
    "-m", "--model", type=options.PATH, help="The model that the file needs, where it is not found: a name or file."
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Of the page [one that is free].")
@click.option("--no-browser", is_flag=True, help="Only say the address of the page.")
@options.device
@click.option("--json", "as_json", is_flag=True, help="Print the address as a JSON object.")
def command(file: str, model: str | None, port: int, no_browser: bool, device: str, as_json: bool) -> None:
    """Show a .pac file in the browser, every pixel as it is, until Ctrl-C.

    The page plays, steps (arrow keys), jumps, zooms without smoothing, and shows how many bits each frame and each
    block of it took. It is on this machine alone, at an address that nobody can guess.
    """
    from pacodec.player.server import PlayServer

    with PlayServer(file, port=port, model=model, device=device) as server:
        if as_json:
            print_json({"file": file, "url": server.address})
        else:
            click.echo(server.address)
            say("Ctrl-C ends it")
        if not no_browser:
            webbrowser.open(server.address)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
