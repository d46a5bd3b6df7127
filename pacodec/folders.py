"""Whole folders of videos to .pac files: what to encode, what is done already, and who does it.

Files are encoded side by side, one thread each, or by the workers of a Dask cluster (extra `pacodec[dask]`).
"""

import glob
import importlib
import os
import threading
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Any

from pacodec.common.files import failing
from pacodec.container.writer import FOREIGN_SUFFIXES, PAC_SUFFIX, is_pac
from pacodec.encoder import encode
from pacodec.errors import FileAccessError, PacodecError, UsageError
from pacodec.gop.parallel import cores
from pacodec.metadata import info
from pacodec.models.files import SUFFIX
from pacodec.options import EncodeOptions
from pacodec.reports import EncodeReport
from pacodec.training.request import Report
from pacodec.training.train import train
from pacodec.video.reader import VideoReader

MODEL_NAME = f"batch{SUFFIX}"
"""The model that is trained first, in the folder of the outputs."""
SAMPLE_CLIPS = 8
"""Clips that it is trained on, evenly spread over those of the most frequent size."""
_NO_VIDEOS = frozenset({".mp3", ".m4a", ".wav", ".pacmodel", ".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})
_RETRIES = 3
"""Workers that may go away while they have a file."""

DONE, SKIPPED, FAILED = "done", "skipped", "failed"


@dataclass(frozen=True)
class BatchItem:
    """What became of one video: `done`, `skipped` because it had been done, or `failed` for the reason `error`.

    `bytes` and `source_bytes` are of the two files, `seconds` of the work; `exit_code` is that of the error.
    """

    source: str
    target: str
    status: str
    bytes: int = 0
    source_bytes: int = 0
    seconds: float = 0.0
    report: EncodeReport | None = None
    error: str | None = None
    exit_code: int = 0


@dataclass(frozen=True)
class BatchReport:
    """What became of all videos, in the order of their names."""

    items: list[BatchItem]
    seconds: float
    model: str | None = None
    """The model that was trained first."""

    def count(self, status: str) -> int:
        """How many have that status."""
        return sum(item.status == status for item in self.items)

    @property
    def bytes(self) -> int:
        """Of all .pac files that are there now."""
        return sum(item.bytes for item in self.items)

    @property
    def source_bytes(self) -> int:
        """Of the videos that those are of."""
        return sum(item.source_bytes for item in self.items if item.status != FAILED)

    @property
    def exit_code(self) -> int:
        """0, or that of the first failure."""
        return next((item.exit_code for item in self.items if item.status == FAILED), 0)


@dataclass(frozen=True)
class _Task:
    """A file to encode; may be sent to another machine that sees the same files."""

    source: str
    target: str
    options: EncodeOptions
    overwrite: bool
    source_bytes: int = field(default=0)

    def run(self, progress: Callable[[int, int | None], None] = lambda done, total: None) -> BatchItem:
        """Encode it, going on from what an earlier run has left."""
        began = monotonic()
        if not self.overwrite and (made := _done_before(self.source, self.target)) is not None:
            return replace(made, status=DONE)  # by a worker that went away before it could say so
        item = BatchItem(self.source, self.target, DONE, source_bytes=self.source_bytes)
        try:
            Path(self.target).parent.mkdir(parents=True, exist_ok=True)
            report = encode(
                self.source, self.target, self.options, overwrite=self.overwrite, resume=True, progress=progress
            )
        except PacodecError as error:
            return replace(item, status=FAILED, error=str(error), exit_code=error.exit_code)
        except OSError as error:
            return replace(item, status=FAILED, error=str(error), exit_code=FileAccessError.exit_code)
        return replace(item, bytes=report.bytes, seconds=monotonic() - began, report=report)


def batch(
    sources: Sequence[str],
    folder: str | os.PathLike[str],
    options: EncodeOptions | None = None,
    *,
    train_first: bool = False,
    dask: str | None = None,
    jobs: int | None = None,
    overwrite: bool = False,
    on_item: Callable[[BatchItem, int], None] = lambda item, total: None,
    on_training: Report = lambda message: None,
    **changes: Any,
) -> BatchReport:
    """Encode every video of `sources` (files, folders with all that is in them, patterns such as clips/**/*.mkv).

    Outputs lie in `folder` as the inputs do in theirs. A video whose .pac is there, whole and newer is skipped, unless
    `overwrite` is asked for; one that was interrupted is gone on with. A video that fails does not stop the others.

    Args:
        sources: what to encode.
        folder: where to, made where it is not there.
        options: of each encoding, and `changes` to them by name, see `pacodec.encode`.
        train_first: train one model on a sample of the videos, and encode all of that size by it; it stays in `folder`.
        dask: address of the scheduler of a Dask cluster, whose workers see the same files under the same names.
        jobs: videos encoded at once here, by default one a core.
        overwrite: encode all anew.
        on_item: called for each video when it is over, with the number of all.
        on_training: takes what training the model says.

    Raises UsageError where there is nothing to encode, FileAccessError where `folder` cannot be made or the cluster
    cannot be reached, and what `train` raises.
    """
    began = monotonic()
    options = replace(options or EncodeOptions(), **changes)
    pairs = find_videos(sources, folder)
    with failing(str(folder)):
        Path(folder).mkdir(parents=True, exist_ok=True)
    items: dict[str, BatchItem] = {}
    tasks: list[_Task] = []
    for source, target in pairs:
        done = None if overwrite else _done_before(source, target)
        if done is not None:
            items[source] = done
            on_item(done, len(pairs))
        else:
            size = Path(source).stat().st_size if Path(source).exists() else 0
            tasks.append(_Task(source, target, options, overwrite or _is_stale(source, target), size))
    model = None
    if train_first and tasks:
        model, known = _train([source for source, _ in pairs], Path(folder), on_training)
        by_model = replace(options, model=model)
        tasks = [replace(task, options=by_model) if task.source in known else task for task in tasks]
    run = _on_cluster(tasks, dask) if dask is not None else _on_threads(tasks, jobs or cores())
    with closing(run):
        for item in run:
            items[item.source] = item
            on_item(item, len(pairs))
    return BatchReport([items[source] for source, _ in pairs], monotonic() - began, model)


def find_videos(sources: Sequence[str], folder: str | os.PathLike[str]) -> list[tuple[str, str]]:
    """Every video of `sources` once, and the name of its output, in order; UsageError where there are none."""
    found: dict[str, Path] = {}
    for source in sources:
        path = Path(source)
        if path.is_dir():
            names, base = [str(each) for each in sorted(path.rglob("*")) if _is_video(each)], path
        elif path.exists() or not glob.has_magic(source):
            names, base = [source], path.parent
        else:
            base, rest = _fixed_part(path)
            names = [str(each) for each in sorted(base.glob(rest)) if each.is_file()]
        for name in names:
            found.setdefault(name, Path(name).relative_to(base))
    inside = Path(folder).resolve()
    found = {name: place for name, place in found.items() if not Path(name).resolve().is_relative_to(inside)}
    if not found:
        raise UsageError(f"{', '.join(sources) or 'nothing'}: no videos there")
    often = Counter(place.with_suffix("") for place in found.values())
    return [
        (name, str(Path(folder) / (place.with_suffix("") if often[place.with_suffix("")] == 1 else place)) + PAC_SUFFIX)
        for name, place in found.items()
    ]


def _fixed_part(pattern: Path) -> tuple[Path, str]:
    """The folder that a pattern begins with, and the rest of it."""
    first = next(number for number, part in enumerate(pattern.parts) if glob.has_magic(part))
    return Path(*pattern.parts[:first]), str(Path(*pattern.parts[first:]))


def _is_video(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in FOREIGN_SUFFIXES - _NO_VIDEOS


def _done_before(source: str, target: str) -> BatchItem | None:
    """A video whose output is whole and not older than it."""
    try:
        made, original = Path(target).stat(), Path(source).stat()
        known = info(target)
    except (OSError, PacodecError):
        return None
    if known.truncated or known.damage or made.st_mtime < original.st_mtime or known.source_bytes != original.st_size:
        return None
    return BatchItem(source, target, SKIPPED, bytes=made.st_size, source_bytes=original.st_size)


def _is_stale(source: str, target: str) -> bool:
    """Whether an output is there that was not completed, or whose video is newer."""
    try:
        known = info(target)
        return known.truncated or bool(known.damage) or Path(target).stat().st_mtime < Path(source).stat().st_mtime
    except OSError:
        return False
    except PacodecError:
        return Path(target).is_file() and is_pac(Path(target))


def _train(sources: Sequence[str], folder: Path, report: Report) -> tuple[str, set[str]]:
    """The model of a sample of the videos, trained unless it is there, and the videos of that size."""
    sizes: dict[str, tuple[int, int]] = {}
    for source in sources:
        try:
            with VideoReader(source) as reader:
                sizes[source] = reader.format.width, reader.format.height
        except PacodecError:  # which the encoding will say
            continue
    if not sizes:
        raise UsageError("no video can be read to train on")
    size = Counter(sizes.values()).most_common(1)[0][0]
    alike = [source for source, each in sizes.items() if each == size]
    model = folder / MODEL_NAME
    if not model.exists():
        count = min(SAMPLE_CLIPS, len(alike))
        train([alike[number * len(alike) // count] for number in range(count)], str(model), report=report)
    return str(model), set(alike)


class _Abandoned(BaseException):
    """Ends an encoding that nobody waits for any more; what it has done can be gone on with."""


def _on_threads(tasks: Sequence[_Task], jobs: int) -> Generator[BatchItem, None, None]:
    """Files side by side; a core that has no file of its own helps with the others."""
    own = max(1, jobs // max(1, len(tasks)))
    over = threading.Event()

    def progress(done: int, total: int | None) -> None:
        if over.is_set():
            raise _Abandoned

    def run(task: _Task) -> BatchItem:
        return replace(task, options=replace(task.options, jobs=own)).run(progress)

    with ThreadPoolExecutor(jobs) as pool:
        waiting: set[Future[BatchItem]] = {pool.submit(run, task) for task in tasks}
        try:
            while waiting:
                finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in finished:
                    yield future.result()
        finally:
            over.set()
            pool.shutdown(wait=False, cancel_futures=True)


def _on_cluster(tasks: Sequence[_Task], address: str) -> Generator[BatchItem, None, None]:
    """Files by the workers of a cluster; what a worker had when it went away goes to another one."""
    try:
        dask: Any = importlib.import_module("distributed")
    except ModuleNotFoundError as error:
        raise UsageError(f"{error.name} is missing: pip install 'pacodec[dask]'") from error
    try:
        client = dask.Client(address)
    except (OSError, ValueError) as error:
        raise FileAccessError(f"{address}: no Dask scheduler can be reached there") from error
    with client:
        here = [
            replace(
                task,
                source=str(Path(task.source).resolve()),
                target=str(Path(task.target).resolve()),
                options=replace(task.options, model=task.options.model and _absolute(task.options.model)),
            )
            for task in tasks
        ]
        futures = client.map(_Task.run, here, pure=False, retries=_RETRIES)
        which = {future.key: task for future, task in zip(futures, tasks, strict=True)}
        try:
            for future in dask.as_completed(futures):
                task = which[future.key]
                if future.status == "finished":
                    yield replace(future.result(), source=task.source, target=task.target)
                else:
                    line = f"{task.source}: {future.exception()}"
                    yield BatchItem(task.source, task.target, FAILED, error=line, exit_code=FileAccessError.exit_code)
        finally:
            client.cancel(futures)


def _absolute(model: str) -> str:
    """The model's file by its whole name, where it is a file and no name to look for."""
    return str(Path(model).resolve()) if Path(model).exists() else model
