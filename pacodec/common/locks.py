"""A lock that a forked child finds free."""

import os
import threading
from types import TracebackType
from weakref import WeakSet


class ForkSafeLock:
    """A mutual exclusion lock for `with`, which a fork frees in the child: the thread that held it is not there.

    What it guards must be of use at any moment, since a fork may come in the middle of a change.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _ALL.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def renew(self) -> None:
        """Become free, whoever held it."""
        self._lock = threading.Lock()


_ALL: "WeakSet[ForkSafeLock]" = WeakSet()


def _renew_all() -> None:
    for lock in list(_ALL):
        lock.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
