"""GOPs coded at the same time: one here, each of the others in a process of its own.

A predictor is many short calls into numpy, and Python runs but one thread at a time between them: two threads code no
more frames a second than one does.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pacodec.errors import PacodecError
from pacodec.grids import Grids, GridSpec
from pacodec.predictors.base import GridDecoder, GridEncoder, Predictor
from pacodec.predictors.desk import Message, pack_grids, raise_error, receive, send, unpack_grids

_PATIENCE = 2.0
"""Seconds that a process whose input has ended may take to end too."""
_ENDED = "a process that codes GOPs has ended before its time"
_ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Crew:
    """A predictor that works in up to `jobs` places at a time. A context manager: at the end the processes are gone.

    Several GOPs may be open at once, each used by one thread. The first is coded in this process, so that a short video
    starts no other.
    """

    def __init__(self, predictor: Predictor, jobs: int) -> None:
        self._predictor = predictor
        self._others = 0 if predictor.origin is None or not sys.executable else jobs - 1
        self._lock = threading.Lock()
        self._open = self._busy_here = False
        self._workers: list[_Worker] = []
        self._idle: list[_Worker] = []

    def __enter__(self) -> Self:
        self._open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._open = False
            workers, self._workers, self._idle = self._workers, [], []
        for worker in workers:
            worker.stop()

    @property
    def name(self) -> str:
        """The predictor's."""
        return self._predictor.name

    @property
    def looks_back(self) -> int:
        """The predictor's."""
        return self._predictor.looks_back

    @property
    def origin(self) -> bytes | None:
        """The predictor's."""
        return self._predictor.origin

    def memory(self, spec: GridSpec) -> int:
        """See `Predictor.memory`; of one GOP."""
        return self._predictor.memory(spec)

    def encoder(self, spec: GridSpec, costs: NDArray[np.float64] | None = None) -> GridEncoder:
        """See `Predictor.encoder`."""
        place = self._take()
        with place.left_on_error():
            if place.worker is None:
                return _Encoder(self._predictor.encoder(spec, costs), place)
            return _Encoder(_RemoteEncoder(place.worker, spec, costs), place)

    def decoder(self, spec: GridSpec, payload: bytes) -> GridDecoder:
        """See `Predictor.decoder`."""
        place = self._take()
        with place.left_on_error():
            if place.worker is None:
                return _Decoder(self._predictor.decoder(spec, payload), place)
            return _Decoder(_RemoteDecoder(place.worker, spec, payload), place)

    def _take(self) -> "_Place":
        with self._lock:
            if self._busy_here and self._idle:
                return _Place(self, self._idle.pop())
            if self._busy_here and self._open and len(self._workers) < self._others:
                self._workers.append(_Worker(self._predictor))
                return _Place(self, self._workers[-1])
            self._busy_here = True
            return _Place(self, None)

    def give_back(self, worker: "_Worker | None") -> None:
        """A place is free again."""
        with self._lock:
            if worker is None:
                self._busy_here = False
            else:
                self._idle.append(worker)


class _Place:
    """Where a GOP is coded: a worker, or None for this process."""

    def __init__(self, crew: Crew, worker: "_Worker | None") -> None:
        self.worker, self._crew, self._left = worker, crew, False

    def leave(self) -> None:
        """Give the place back, once."""
        if not self._left:
            self._left = True
            self._crew.give_back(self.worker)

    @contextmanager
    def left_on_error(self) -> Iterator[None]:
        """Leave if what is done inside fails."""
        try:
            yield
        except BaseException:
            self.leave()
            raise


class _Worker:
    """A process with a desk."""

    def __init__(self, predictor: Predictor) -> None:
        paths = os.pathsep.join(path for path in sys.path if path)
        # A session of its own: Ctrl-C is for this process alone, which then lets the other go.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "pacodec.predictors.desk"],  # -P: not by what lies in the current folder
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **_ONE_THREAD, "PYTHONPATH": paths},
            start_new_session=True,
        )
        assert self._process.stdin
        assert self._process.stdout
        self._to, self._from = self._process.stdin, self._process.stdout
        self._send({"predictor": predictor.name, "model": predictor.origin})

    def ask(self, do: str, **what: Any) -> Message:
        """The answer to a message; raises the exception that it stands for, PacodecError if the process has ended."""
        self._send({"do": do, **what})
        answer = receive(self._from)
        if answer is None:
            raise PacodecError(_ENDED)
        raise_error(answer)
        return answer

    def stop(self) -> None:
        """Let the process end, or make it."""
        with suppress(OSError):  # it is gone already
            self._to.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._from.close()

    def _send(self, message: Message) -> None:
        try:
            send(self._to, message)
        except OSError:
            raise PacodecError(_ENDED) from None


class _RemoteEncoder:
    def __init__(self, worker: _Worker, spec: GridSpec, costs: NDArray[np.float64] | None) -> None:
        self._worker = worker
        worker.ask("encoder", spec=astuple(spec), costs=None if costs is None else costs.tobytes())

    def push(self, grids: Grids) -> Grids:
        return unpack_grids(self._worker.ask("push", **pack_grids(grids)))

    def finish(self) -> bytes:
        payload: bytes = self._worker.ask("finish encoder")["payload"]
        return payload


class _RemoteDecoder:
    def __init__(self, worker: _Worker, spec: GridSpec, payload: bytes) -> None:
        self._worker = worker
        worker.ask("decoder", spec=astuple(spec), payload=payload)

    def pull(self, n: int) -> Grids:
        return unpack_grids(self._worker.ask("pull", n=n))

    def finish(self) -> None:
        self._worker.ask("finish decoder")


class _Encoder:
    """An encoder that leaves its place when it is done, well or not."""

    def __init__(self, encoder: GridEncoder, place: _Place) -> None:
        self._encoder, self._place = encoder, place

    def push(self, grids: Grids) -> Grids:
        with self._place.left_on_error():
            return self._encoder.push(grids)

    def finish(self) -> bytes:
        try:
            return self._encoder.finish()
        finally:
            self._place.leave()


class _Decoder:
    """The same for a decoder."""

    def __init__(self, decoder: GridDecoder, place: _Place) -> None:
        self._decoder, self._place = decoder, place

    def pull(self, n: int) -> Grids:
        with self._place.left_on_error():
            return self._decoder.pull(n)

    def finish(self) -> None:
        try:
            self._decoder.finish()
        finally:
            self._place.leave()
