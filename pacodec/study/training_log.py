"""What the training of a network has taken and reached so far, whichever process did it: kept beside its checkpoint."""

import json
from pathlib import Path
from time import monotonic

from pacodec.common.files import write_whole
from pacodec.training.request import TrainingProgress


class TrainingLog:
    """The seconds spent on a network, and the scores on the way.

    A journal that cannot be read counts as none: a run then takes longer than it should, and nothing else is lost.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._earlier, self._began = 0.0, monotonic()
        self.reached: list[tuple[int, int, float]] = []
        """(step, steps, score in dB) of each validation, of all phases."""
        try:
            kept = json.loads(path.read_text())
            self._earlier = float(kept["seconds"])
            self.reached = [(int(step), int(steps), float(score)) for step, steps, score in kept["reached"]]
        except (OSError, ValueError, KeyError, TypeError):
            pass

    @property
    def earlier(self) -> float:
        """Seconds that were spent before this process."""
        return self._earlier

    @property
    def seconds(self) -> float:
        """Seconds spent, those of this process included."""
        return self._earlier + monotonic() - self._began

    def note(self, progress: TrainingProgress) -> None:
        """Add the result of a validation."""
        self.reached = [*self.reached, (progress.step, progress.steps, progress.score)]
        self.save()

    def save(self) -> None:
        """Write the log to its file."""
        write_whole(str(self.path), json.dumps({"seconds": self.seconds, "reached": self.reached}).encode())

    def late_gain(self) -> float | None:
        """What the last third of the last phase gained, in dB; None where too little of it was seen."""
        starts = [n for n, (step, *_) in enumerate(self.reached) if n == 0 or step < self.reached[n - 1][0]]
        last = self.reached[starts[-1] :] if starts else []
        early = [score for step, steps, score in last if step <= steps * 2 / 3]
        return max(score for *_, score in last) - max(early) if early else None

    def remove(self) -> None:
        """The network is done: its model file says what is worth keeping."""
        self.path.unlink(missing_ok=True)
