"""Work ahead of a consumer in threads, in order and in bounded memory."""

import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

POLL_SECONDS = 0.1


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Stopped(Exception):  # noqa: N818 (not an error: the other side went away)
    """Raised inside a worker whose consumer has gone."""


class Channel(Generic[T]):
    """A bounded queue between two threads that can end well, end with an error, or be given up by either side."""

    def __init__(self, depth: int) -> None:
        self._queue: queue.Queue[T] = queue.Queue(depth)
        self._ended = threading.Event()
        self._stopped = threading.Event()
        self._error: BaseException | None = None

    def put(self, item: T) -> None:
        """Add an item, waiting for room; Stopped when the reader has gone."""
        while not self._stopped.is_set():
            try:
                return self._queue.put(item, timeout=POLL_SECONDS)
            except queue.Full:
                continue
        raise Stopped

    def end(self, error: BaseException | None = None) -> None:
        """No more items; the reader gets `error` after those there are."""
        self._error = error
        self._ended.set()

    def stop(self) -> None:
        """Give up: the writer's next `put` and the reader's next item raise Stopped."""
        self._stopped.set()

    def __iter__(self) -> Iterator[T]:
        while not self._stopped.is_set():
            ended = self._ended.is_set()  # before looking: what was put before the end is seen after it
            try:
                yield self._queue.get(timeout=0 if ended else POLL_SECONDS)
            except queue.Empty:
                if ended:
                    if self._error is not None:
                        raise self._error from None
                    return
        raise Stopped


def in_order(tasks: Iterable[Callable[[], Iterator[T]]], jobs: int, depth: int) -> Iterator[T]:
    """The items of all tasks, one task after the other, while up to `jobs` of them run ahead in threads.

    Each task keeps at most `depth` items waiting. A task's error is raised where its items would follow.
    """
    running: deque[Channel[T]] = deque()
    remaining = iter(tasks)
    try:
        while True:
            while len(running) < max(1, jobs) and (task := next(remaining, None)) is not None:
                running.append(_start(task, depth))
            if not running:
                return
            yield from running[0]
            running.popleft()
    finally:
        for channel in running:
            channel.stop()


def _start(task: Callable[[], Iterator[T]], depth: int) -> Channel[T]:
    channel: Channel[T] = Channel(depth)

    def run() -> None:
        try:
            for item in task():
                channel.put(item)
        except Stopped:
            return
        except BaseException as error:
            channel.end(error)
        else:
            channel.end()

    threading.Thread(target=run, daemon=True).start()
    return channel
