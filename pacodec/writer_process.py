"""The process in which writers encode: frames come by its standard input, what was done goes to its standard output."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import Future
from dataclasses import asdict
from queue import SimpleQueue
from typing import Any

from pacodec import errors
from pacodec.common.layout import ArrayLayout
from pacodec.encoder import encode_frames
from pacodec.errors import FileAccessError, PacodecError, UsageError
from pacodec.gop.feed import ArrayFrames, FrameQueue, unpacked
from pacodec.gop.parallel import Stopped
from pacodec.options import EncodeOptions
from pacodec.reports import EncodeReport

NICENESS = 5
"""Of the process: the program that makes the frames goes first."""

_Task = tuple[str, EncodeOptions, FrameQueue, "Future[EncodeReport]"]


class FrameEncoder:
    """A process that encodes files of frames, one after the other; it is started when there is one.

    When the program ends, by whatever, it sees that nothing more comes, removes what is not complete and ends.
    """

    def __init__(self) -> None:
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None

    def submit(self, target: str, options: EncodeOptions, queue: FrameQueue) -> "Future[EncodeReport]":
        """Encode the queue's frames into the file `target` when the files before it are done.

        The result raises what `encode` raises, and UsageError where the queue was given up.
        """
        if self._thread is None:  # not one of a pool, which the end of a program would wait for
            self._thread = threading.Thread(target=self._work, name="pacodec sends frames", daemon=True)
            self._thread.start()
        result: Future[EncodeReport] = Future()
        self._tasks.put((target, options, queue, result))
        return result

    def close(self) -> None:
        """End the process, after what was submitted."""
        if self._thread is not None:
            self._tasks.put(None)
            self._thread.join()

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            target, options, queue, result = task
            try:
                result.set_result(self._encode(target, options, queue))
            except BaseException as error:
                result.set_exception(error)
        self._end()

    def _encode(self, target: str, options: EncodeOptions, queue: FrameQueue) -> EncodeReport:
        process = self._process = self._process or _start()
        assert process.stdin is not None
        assert process.stdout is not None
        told = {"target": target, "shape": queue.shape, "options": asdict(options)}
        try:
            process.stdin.write(json.dumps(told).encode() + b"\n")
            for chunk in queue.chunks():
                process.stdin.write(chunk)
            process.stdin.flush()
        except Stopped:
            self._end()
            raise UsageError(f"{target}: was given up, there is no file") from None
        except OSError:  # it has ended, and said why
            queue.stop()
        said = process.stdout.readline()
        silent = {"error": "FileAccessError", "message": f"{target}: the encoding process ended without a word"}
        result: dict[str, Any] = json.loads(said) if said else silent
        if "report" in result:
            return EncodeReport(**result["report"])
        queue.stop()
        self._end()
        raise getattr(errors, result["error"], PacodecError)(result["message"])

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        process.stdout.close()
        process.wait()


def _start() -> "subprocess.Popen[bytes]":
    found = os.pathsep.join(folder for folder in sys.path if folder)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "pacodec.writer_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": found},
        start_new_session=True,  # what interrupts the program is not for it
    )


def main() -> None:
    """Encode the frames of standard input, file after file: a line of JSON says what they are and what is to be done.

    A line of JSON says what came of it: {"report": fields of EncodeReport}, or {"error": class, "message": text}; after
    that the process ends.
    """
    os.nice(NICENESS)
    stream = sys.stdin.buffer
    while line := stream.readline():
        told: dict[str, Any] = json.loads(line)
        options = EncodeOptions(**told["options"])
        assert options.frame_rate is not None
        result: dict[str, Any]
        try:
            layout = ArrayLayout(tuple(told["shape"]))
            frames = ArrayFrames(unpacked(stream, layout.shape), layout, options.frame_rate)
            result = {"report": asdict(encode_frames(frames, told["target"], options))}
        except PacodecError as error:
            result = {"error": type(error).__name__, "message": str(error)}
        except MemoryError:
            result = {"error": FileAccessError.__name__, "message": f"{told['target']}: out of memory"}
        try:
            os.write(sys.stdout.fileno(), json.dumps(result).encode() + b"\n")
        except BrokenPipeError:  # whoever wanted to know is gone
            return
        if "error" in result:
            return


if __name__ == "__main__":
    main()
