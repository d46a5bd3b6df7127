"""Writing a .pac file frame by frame, while a program goes on with something else."""

import contextlib
import os
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from pacodec.common.files import STANDARD_STREAM, check_target
from pacodec.common.layout import ArrayLayout
from pacodec.container.writer import check_pac_target
from pacodec.errors import PacodecError, UsageError
from pacodec.gop.feed import FrameQueue
from pacodec.gop.parallel import Stopped
from pacodec.options import EncodeOptions
from pacodec.reports import EncodeReport
from pacodec.writer_process import FrameEncoder


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
        encoder: FrameEncoder | None = None,
        **changes: Any,
    ) -> None:
        """A writer of the file `path`, of `fps` frames/s; `changes` are further fields of `EncodeOptions`, by name.

        Writers that share an `encoder` have their files encoded one after the other; by default each has its own.

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
        self._own = encoder is None
        self._encoder = encoder or FrameEncoder()
        self._queue: FrameQueue | None = None
        self._result: Future[EncodeReport] | None = None
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
            ArrayLayout(array.shape)  # raises for what cannot be coded
            self._queue = FrameQueue(array.shape)
            self._result = self._encoder.submit(self._target, self._options, self._queue)
        if array.shape != self._queue.shape:
            raise UsageError(f"{self._target}: a frame of shape {array.shape} after such of {self._queue.shape}")
        try:
            self._queue.put(array)
        except Stopped:
            self._finish()
            raise
        self.frames += 1

    @property
    def waiting(self) -> int:
        """Bytes of memory that frames take which wait for the encoder."""
        return 0 if self._queue is None else self._queue.held

    @property
    def done(self) -> bool:
        """Whether everything is written, so that `close` need not wait."""
        return self._result is not None and self._result.done()

    def end(self) -> None:
        """Say that no more frames come; `close` is still to be called, and may be later."""
        if self._queue is not None and not self._closed:
            self._queue.end()
        self._closed = True

    def close(self) -> EncodeReport:
        """Wait until everything is coded and the file is in its place; what was done. Again: the same.

        Raises UsageError where no frame was written, and what went wrong with the encoding.
        """
        if self._queue is None:
            self._closed = True
            raise UsageError(f"{self._target}: no frame was written, so there is no file")
        self.end()
        return self._finish()

    def cancel(self) -> None:
        """Throw away what was written, unless it is in its place already; nothing is left behind."""
        if self._queue is not None and not self._closed:
            self._queue.stop()
            with contextlib.suppress(PacodecError):
                self._finish()
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

    def _finish(self) -> EncodeReport:
        """What came of it, or raise it."""
        self._closed = True
        assert self._result is not None
        try:
            return self._result.result()
        finally:
            if self._own:
                self._encoder.close()
