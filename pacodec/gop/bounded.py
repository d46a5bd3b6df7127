"""What is kept of earlier work, in bounded memory."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from pacodec.common.locks import ForkSafeLock

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BoundedCache(Generic[K, V]):
    """Values of known sizes, of which those that were not used for longest are forgotten where all take too much.

    The newest is kept whatever it takes. Safe to share between threads, and after a fork.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes, self._total = most_bytes, 0
        self._values: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._lock = ForkSafeLock()

    def __contains__(self, key: K) -> bool:
        return key in self._values

    def get(self, key: K) -> V | None:
        """The value of a key, which counts as used; None where it is not kept."""
        with self._lock:
            found = self._values.get(key)
            if found is None:
                return None
            self._values.move_to_end(key)
            return found[0]

    def take(self, key: K) -> V | None:
        """The value of a key, which is not kept any longer; None where it was not."""
        with self._lock:
            found = self._values.pop(key, None)
            if found is None:
                return None
            self._total -= found[1]
            return found[0]

    def put(self, key: K, value: V, size: int) -> None:
        """Keep a value of so many bytes, in place of any other of that key."""
        with self._lock:
            before = self._values.pop(key, None)
            self._total += size - (before[1] if before else 0)
            self._values[key] = value, size
            while self._total > self.most_bytes and len(self._values) > 1:
                self._total -= self._values.popitem(last=False)[1][1]
