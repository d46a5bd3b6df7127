"""What all commands share: errors to one line and an exit code, JSON, progress."""

import errno
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import click

from pacodec.common.files import remove_unfinished
from pacodec.errors import FileAccessError, LimitError, PacodecError

if TYPE_CHECKING:
    from pacodec.training.request import TrainingProgress

SIGNAL_EXIT = 128
"""Exit code of a command that a signal ended, less the number of the signal."""
REDRAW_SECONDS = 0.2
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says where there is no room for an output."""
_last_word = threading.RLock()


class Failing(click.Group):
    """Turns the project's exceptions, and signals, into one line on stderr and the documented exit code."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command and exit with its code."""
        with _ending_by_signals() as received:
            code = self._run(received, *args, **kwargs)
            _settle_stdout()
            if received:  # another signal would find an interpreter on its way out, which no longer handles it
                os._exit(code)
        sys.exit(code)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; FileAccessError for a reader that went away, of which click would not say a word."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise FileAccessError("the output was closed before everything was written") from error

    def _run(self, received: list[int], *args: Any, **kwargs: Any) -> int:
        """The exit code."""
        try:
            result = super().main(*args, **{**kwargs, "standalone_mode": False})
            sys.stdout.flush()
        except PacodecError as error:
            code = _fail(str(error), error.exit_code)
        except click.ClickException as error:
            error.show()
            code = error.exit_code
        except (KeyboardInterrupt, click.Abort):
            code = _fail("interrupted", SIGNAL_EXIT + (received[0] if received else signal.SIGINT))
        except BrokenPipeError:
            code = _fail("the output was closed before everything was written", FileAccessError.exit_code)
        except OSError as error:
            # All files that are written are named in FileAccessError.
            name = error.filename or ("standard output" if error.errno in _FULL else None)
            code = _fail(f"{name}: {error.strerror}" if name else str(error), FileAccessError.exit_code)
        except MemoryError:
            code = _fail("out of memory", FileAccessError.exit_code)
        else:
            code = result if isinstance(result, int) else 0
        return code


@contextmanager
def _ending_by_signals() -> Iterator[list[int]]:
    """Let a request to end, or a terminal that goes away, do what Ctrl-C does; the signals that came.

    A second one ends the process at once.
    """
    received: list[int] = []

    def interrupt(number: int, _: FrameType | None) -> None:
        received.append(number)
        if len(received) > 1:
            give_up("interrupted", SIGNAL_EXIT + received[0])
        raise KeyboardInterrupt

    # Only the main thread may ask for signals. What is ignored (nohup) stays so.
    asked = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    main_thread = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in asked if main_thread}
    taken = [number for number, what in before.items() if what in (signal.SIG_DFL, signal.default_int_handler)]
    for number in taken:
        signal.signal(number, interrupt)
    try:
        yield received
    finally:
        for number in taken:
            signal.signal(number, before[number])


def give_up(message: str, code: int) -> NoReturn:
    """End the process at once, whatever its threads are at, without outputs that are not complete."""
    _last_word.acquire()  # nothing else is to be said of what other threads find missing now
    remove_unfinished()
    os.write(2, f"pacodec: {message}\n".encode())
    os._exit(code)


@contextmanager
def ending_after(seconds: float | None, name: str) -> Iterator[None]:
    """Give up on the file of that name where the block takes longer than that, if any."""
    if seconds is None:
        yield
        return
    message = f"{name}: takes longer than the {seconds:g} seconds that --time-limit allows"
    timer = threading.Timer(seconds, give_up, (message, LimitError.exit_code))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _fail(message: str, code: int) -> int:
    with _last_word:
        click.echo(f"pacodec: {' '.join(message.split())}", err=True)
    return code


def _settle_stdout() -> None:
    """Give up what standard output does not take, or Python complains once more at exit and changes the exit code."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_json(values: Mapping[str, Any]) -> None:
    """Print a JSON object on standard output."""
    click.echo(json.dumps(dict(values), sort_keys=False, default=list))


def say(message: str, *, quiet: bool = False) -> None:
    """A line for people, on stderr, so that stdout stays clean for data."""
    if not quiet:
        click.echo(message, err=True)


def say_training(message: "str | TrainingProgress", indent: str = "") -> None:
    """Say how a training goes; `indent` stands before its steps."""
    if isinstance(message, str):
        say(message)
        return
    done = f"{indent}step {message.step}/{message.steps}"
    left = f"{message.seconds:.0f} s, {message.seconds_left:.0f} s left"
    say(f"{done}  loss {message.loss:.6f}  {message.score:.2f} {message.unit}  {left}")


def size(count: float) -> str:
    """A number of bytes as people read it."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"


def compared(part: float, whole: float, name: str) -> str:
    """How much of a whole a part is, or how many times it, for people."""
    if not whole:
        return f"no {name} to compare with"
    return f"1/{whole / part:.1f} of {name}" if part <= whole else f"{part / whole:.1f} times {name}"


class StatusLine:
    """One line of a terminal that is drawn over and over; silent elsewhere."""

    def __init__(self) -> None:
        self.began, self.drawn, self.shown = monotonic(), 0.0, sys.stderr.isatty()

    def draw(self, text: Callable[[float], str]) -> None:
        """Show the text of the seconds since the start, but not more often than anyone reads."""
        now = monotonic()
        if self.shown and now - self.drawn >= REDRAW_SECONDS:
            self.drawn = now
            click.echo(f"\r\x1b[K{text(now - self.began)}", err=True, nl=False)

    def clear(self) -> None:
        """Clear the line, to make room for the result."""
        if self.shown:
            click.echo("\r\x1b[K", err=True, nl=False)


class ProgressLine(StatusLine):
    """A line of frames done, speed and time left."""

    def __init__(self, verb: str) -> None:
        super().__init__()
        self.verb = verb

    def __call__(self, done: int, total: int | None) -> None:
        """Redraw."""
        self.draw(lambda seconds: self._text(done, total, seconds))

    def _text(self, done: int, total: int | None, seconds: float) -> str:
        speed = done / max(seconds, 1e-9)
        left = f" of {total}, {max(total - done, 0) / max(speed, 1e-9):.0f} s left" if total else ""
        return f"{self.verb} frame {done}{left}, {speed:.0f} frames/s"
