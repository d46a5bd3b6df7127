"""Keeps the linear algebra library from starting threads of its own.

The products of a pass are small: threads spend longer waiting for each other than computing, and GOPs that are coded
side by side already keep the cores busy. Results do not depend on it.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController

_lock = threading.Lock()
_limit: Any = None
_inside = 0


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@contextmanager
def one_thread() -> Iterator[None]:
    """The setting is the process's: the first to come makes it, the last to leave takes it back.

    For whole GOPs and longer: each change makes the library set up its threads anew.
    """
    global _limit, _inside
    with _lock:
        if not _inside:
            _limit = _controller().limit(limits=1, user_api="blas")
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _limit.restore_original_limits()
