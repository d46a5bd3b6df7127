"""Which frames of a damaged file are missing, told from those that are there."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from operator import attrgetter


@dataclass(frozen=True, slots=True)
class Extent:
    """Frames `first_frame` .. `end_frame` - 1, shown from `start` to `end`, in units of the video's time base."""

    first_frame: int
    end_frame: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Loss:
    """Frames `first_frame` to `last_frame` are lost, which were shown from `start` to `end`, in seconds.

    Times are those at which the frames on either side end and begin; `end` is None after the last of them, `start`
    before the first.
    """

    first_frame: int
    last_frame: int
    start: float | None
    end: float | None

    @property
    def frames(self) -> int:
        """How many."""
        return self.last_frame + 1 - self.first_frame

    def __str__(self) -> str:
        begin = "the start" if self.start is None else f"{self.start:.3f} s"
        until = "the end" if self.end is None else f"{self.end:.3f} s"
        return f"frames {self.first_frame} to {self.last_frame} ({begin} to {until}) are lost"

    @classmethod
    def between(cls, before: Extent | None, after: Extent | None, declared: int, time_base: Fraction) -> "Loss | None":
        """What is missing between two neighbours, of which either may be none; `declared` is the frames of the file.

        None where nothing is.
        """
        first = before.end_frame if before else 0
        end = after.first_frame if after else declared
        if end <= first:
            return None
        return cls(
            first,
            end - 1,
            float(before.end * time_base) if before else None,
            float(after.start * time_base) if after else None,
        )


class Survivors:
    """Collects what is there, in any order; memory grows with the number of gaps, not of frames."""

    def __init__(self) -> None:
        self._extents: list[Extent] = []

    def add(self, extent: Extent) -> None:
        """Take note of frames that are there."""
        last = self._extents[-1] if self._extents else None
        if last is not None and last.end_frame == extent.first_frame:
            self._extents[-1] = Extent(last.first_frame, extent.end_frame, last.start, extent.end)
        else:
            self._extents.append(extent)

    def losses(self, declared: int, time_base: Fraction) -> Iterator[Loss]:
        """What is missing between them, and after them of the `declared` frames of the file (0 = not known)."""
        before: Extent | None = None
        for after in (*sorted(self._extents, key=attrgetter("first_frame")), None):
            if loss := Loss.between(before, after, declared, time_base):
                yield loss
            before = after
