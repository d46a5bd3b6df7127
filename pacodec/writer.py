"""Writing a .pac file frame by frame, while a program goes on with something else."""

import json
import os
import subprocess
import sys
import threading
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from pacodec import errors
from pacodec.common.files import STANDARD_STREAM, check_target
from pacodec.common.layout import ArrayLayout
from pacodec.container.identify import check_pac_target
from pacodec.errors import FileAccessError, PacodecError, UsageError
from pacodec.gop.feed import FrameQueue
from pacodec.gop.parallel import Stopped
from pacodec.options import EncodeOptions
from pacodec.reports import EncodeReport


class Writer:
    """Encodes the arrays that `write` is given into a .pac file, in a process of its own and in bounded memory.

        with pacodec.Writer("play.pac", fps=15) as writer:
            for observation in rollout:
                writer.write(observation)

    The file appears when the `with` block, or `close`, is over. When the block ends by an exception, by `cancel`, or
    because the program ends or is killed, nothing is left behind. That process has a lower priority, so that the
    program goes first; up to 64 MiB of packed frames wait for it, then `write` waits.

    Frames are uint8 arrays of one shape, which `pacodec.read_arrays` gives back: grey [H, W], RGB [H, W, 3], and any
    other, whose pictures stand side by side (see `pacodec.common.layout`). They are kept exactly, however many colours
    they have.

    Not to be used by two threads at once.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        fps: float = 30.0,
        lossless: bool = True,
        overwrite: bool = False,
        **changes: Any,
    ) -> None:
        """A writer of the file `path`, of `fps` frames/s; `changes` are further fields of `EncodeOptions`, by name.

        With `lossless=False` the first frames decide how the file is coded, as `encode` does with a pipe.

        Raises UsageError for options that do not go together, FileAccessError where the file cannot be written or is
        there and not to be overwritten.
        """
        target = os.fspath(path)
        if target == STANDARD_STREAM:
            raise UsageError("a writer needs the name of a file")
        self._options = EncodeOptions(fps=fps, lossless=lossless, **changes)
        check_target(target, overwrite=overwrite)
        check_pac_target(target)
        self._target = target
        self._queue: FrameQueue | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._sender: threading.Thread | None = None
        self._report: EncodeReport | None = None
        self._closed = False
        self.frames = 0
        """Frames written so far."""

    def write(self, frame: ArrayLike) -> None:
        """Add a frame, of which a copy is made; waits where too much waits already.

        Raises UsageError for a frame that is not uint8 or of another shape than the first one, or after `close`;
        LimitError for one that is too large; and what went wrong with the encoding, which is then given up.
        """
        if self._closed:
            raise UsageError(f"{self._target}: is closed, no frame can be added")
        array = np.asarray(frame)
        if array.dtype != np.uint8:
            raise UsageError(f"{self._target}: frames are uint8 arrays, not {array.dtype}")
        if self._queue is None:
            self._queue = self._start(array.shape)
        if array.shape != self._queue.shape:
            raise UsageError(f"{self._target}: a frame of shape {array.shape} after such of {self._queue.shape}")
        try:
            self._queue.put(array)
        except Stopped:
            self._finish()
            raise
        self.frames += 1

    def close(self) -> EncodeReport:
        """Wait until everything is coded and the file is in its place; what was done. Again: the same.

        Raises UsageError where no frame was written, and what went wrong with the encoding.
        """
        if not self._closed:
            self._closed = True
            if self._queue is None:
                raise UsageError(f"{self._target}: no frame was written, so there is no file")
            self._queue.end()
            self._finish()
        if self._report is None:
            raise UsageError(f"{self._target}: was given up, there is no file")
        return self._report

    def cancel(self) -> None:
        """Throw away what was written, unless it is in its place already; nothing is left behind."""
        if self._queue is not None and not self._closed:
            self._queue.stop()
            self._wait()
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.cancel()

    def _start(self, shape: tuple[int, ...]) -> FrameQueue:
        ArrayLayout(shape)  # raises for what cannot be coded
        told = {"target": self._target, "shape": shape, "options": asdict(self._options)}
        found = os.pathsep.join(folder for folder in sys.path if folder)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "pacodec.writer_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": found},
            start_new_session=True,  # what interrupts the program is not for it: it sees that nothing more comes
        )
        queue = FrameQueue(shape)
        self._sender = threading.Thread(target=_send, args=(self._process, told, queue), daemon=True)
        self._sender.start()
        return queue

    def _wait(self) -> str:
        """For the process to end; what it said."""
        assert self._process is not None
        assert self._process.stdout is not None
        assert self._sender is not None
        self._sender.join()
        with self._process.stdout:
            said = self._process.stdout.read()
        self._process.wait()
        return said.decode()

    def _finish(self) -> None:
        """Take what came of it, or raise it."""
        self._closed = True
        said = self._wait()
        if not said:
            raise FileAccessError(f"{self._target}: the encoding process ended without a word")
        result = json.loads(said)
        if "report" not in result:
            raise getattr(errors, result["error"], PacodecError)(result["message"])
        self._report = EncodeReport(**result["report"])


def _send(process: "subprocess.Popen[bytes]", told: dict[str, Any], queue: FrameQueue) -> None:
    """Hand the queue's frames over to the process, until the end, or until either gives up."""
    assert process.stdin is not None
    try:
        with process.stdin:
            process.stdin.write(json.dumps(told).encode() + b"\n")
            for chunk in queue.chunks():
                process.stdin.write(chunk)
                process.stdin.flush()
    except (Stopped, OSError):
        queue.stop()
