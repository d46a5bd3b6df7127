"""An encoding that can be gone on with: `OUT.part`, a .pac without its end, and a journal of the GOPs in it."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from pacodec.common.files import failing, put_in_place
from pacodec.common.metrics import Distortion
from pacodec.container import sound_until
from pacodec.errors import CorruptFileError, FileAccessError, QualityError, UsageError

PART_SUFFIX, JOURNAL_SUFFIX = ".part", ".part.journal"


class Unfinished:
    """The part file of a run and its journal: a line of JSON for the run, and one for each GOP that is complete.

    The journal alone says what counts: a GOP is entered when it is in the part, and what the part holds beyond the
    entries is cut off. file: the part, open to read and write. choice: number of the coder that the run had come to.
    done: what each complete GOP lost.
    """

    file: BinaryIO

    def __init__(self, target: str, run: str, stack: ExitStack) -> None:
        """Open what an earlier run left, or nothing; `run` identifies input and options. Closed by `stack`.

        Raises UsageError when it belongs to another run, FileAccessError when another process has it.
        """
        self.part, self.journal = Path(target + PART_SUFFIX), Path(target + JOURNAL_SUFFIX)
        self.choice, self.done = 0, list[Distortion]()
        self._run, self._stack = run, stack
        self._log = stack.enter_context(self.journal.open("ab+"))
        self._lock()
        try:
            self._load()
        except (ValueError, KeyError, TypeError):
            raise UsageError(f"{self.part}: not of an encoding that can be gone on with; remove it") from None

    def begin(self, choice: int) -> None:
        """Write the file of that coder from now on: go on with what there is, where it is of that one."""
        if not (self.done and choice == self.choice):
            self._log.truncate(0)
            self.part.unlink(missing_ok=True)
            self._enter({"run": self._run, "choice": choice})
            self.part.touch()
            self.choice, self.done = choice, []
        self.file = self._stack.enter_context(self.part.open("rb+"))

    def record(self, end: int, distortion: Distortion) -> None:
        """The file is complete up to `end` by one more GOP, and what that lost."""
        self.file.flush()
        self._enter({"end": end, "distortion": [*vars(distortion).values()]})

    def discard(self) -> None:
        """Remove the part and its journal."""
        self.part.unlink(missing_ok=True)
        self.journal.unlink(missing_ok=True)

    def finish(self, target: str) -> None:
        """Put the part in the place of the target."""
        self.file.close()
        put_in_place(self.part, Path(target))
        self.journal.unlink(missing_ok=True)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FileAccessError(f"{self.part}: another process is writing it") from None

    def _load(self) -> None:
        """Read the journal as far as it holds; ValueError, KeyError or TypeError where it is no journal at all."""
        self._log.seek(0)
        lines = [line for line in self._log.read().splitlines(keepends=True) if line.endswith(b"\n")]
        if not lines:
            if self.part.exists() and self.part.stat().st_size:
                raise ValueError
            return
        first = json.loads(lines[0])
        if first["run"] != self._run:
            raise UsageError(f"{self.part}: is of a run with other options or input; repeat those, or remove it")
        self.choice = int(first["choice"])
        sound = sound_until(self.part) if self.part.exists() else 0
        size, end = len(lines[0]), 0
        for line in lines[1:]:
            entry = json.loads(line)
            if not end < entry["end"] <= sound:
                break
            frames, total, worst = entry["distortion"]
            self.done.append(Distortion(int(frames), float(total), float(worst)))
            size, end = size + len(line), entry["end"]
        self._log.truncate(size)
        if self.done:
            os.truncate(self.part, end)

    def _enter(self, values: dict[str, object]) -> None:
        self._log.write(json.dumps(values).encode() + b"\n")
        self._log.flush()


def can_go_on(target: str) -> bool:
    """Whether an earlier run for that output has left a complete GOP, as far as its journal says."""
    journal = Path(target + JOURNAL_SUFFIX)
    return journal.exists() and journal.read_bytes().count(b"\n") > 1


@contextmanager
def unfinished(target: str, run: str) -> Iterator[Unfinished]:
    """The part file of a run, which takes the place of `target` when the block ends well.

    It stays when the block is interrupted or fails, unless by QualityError or CorruptFileError, which would come again.
    """
    with failing(target), ExitStack() as stack:
        kept = Unfinished(target, run, stack)
        try:
            yield kept
        except (QualityError, CorruptFileError):
            kept.discard()
            raise
        kept.finish(target)
