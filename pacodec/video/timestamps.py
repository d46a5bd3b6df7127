"""Repairing the time stamps of one stream: none missing, each later than the one before."""


class TimestampRepair:
    """Places the pictures or packets of one stream in time.

    Args:
        step: ticks from a picture to the next where the file does not say.
        jump: a step back of more than that many ticks is a splice: what follows it goes on after what came before.
            A smaller one is a wrong time stamp, and only that one is moved.
    """

    def __init__(self, step: int, jump: int) -> None:
        self.repaired = 0
        """Time stamps that had to be changed so far, but for splices."""
        self.splices = 0
        """Steps back so far that were splices."""
        self._step = max(step, 1)
        self._jump = jump
        self._last: int | None = None
        self._next = 0
        self._offset = 0

    def place(self, time: int | None, duration: int | None) -> int:
        """The time of the next picture or packet, given the file's `time` and `duration` in ticks if it has any."""
        placed = self._next if time is None else time + self._offset
        if self._last is not None and placed <= self._last:
            if self._last - placed > self._jump:
                self.splices += 1
                self._offset += self._next - placed
                placed = self._next
            else:
                self.repaired += 1
                placed = self._last + 1
        self._last = placed
        self._next = placed + (duration or self._step)
        return placed
