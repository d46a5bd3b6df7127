"""The command line: one module a command, which parses, calls the API and prints."""

import importlib

import click

from pacodec import __version__
from pacodec.cli.run import Failing

COMMANDS = {
    "encode": "Compress a video into a .pac file.",
    "batch": "Compress folders of videos.",
    "decode": "Turn a .pac file back into a video.",
    "play": "Show a .pac file in the browser.",
    "info": "Show what a .pac file holds and how small it is.",
    "verify": "Check a .pac file and prove that it decodes.",
    "compare": "Say how far one video is from another.",
    "models": "List the models that encode can use.",
    "train": "Train a model on your own footage.",
    "eval": "Compare with x264, x265, VP9 and AV1 on your clips.",
    "study": "Repeat the study that this project began with.",
}


class Commands(click.Group):
    """Loads a command's module when it is called for: `info` must not wait for torch."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands, in the order in which one meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"pacodec.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table above, so that help imports none of them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


class PacodecGroup(Failing, Commands):
    """Commands, with the exit codes of `pacodec.errors`."""


@click.group(
    "pacodec",
    cls=PacodecGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: pacodec encode play.mp4 play.pac && pacodec info play.pac",
)
@click.version_option(__version__)
def main() -> None:
    """A learned video codec: train it on your own footage, store the rest of it many times smaller.

    Exit codes: 0 done, 1 file cannot be read or written, 2 wrong usage, 3 damaged or not a video, 4 unsupported version
    or missing model, 5 over a limit, 6 quality not reached, 130 or 143 interrupted.
    """
