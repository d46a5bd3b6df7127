"""Runs measurements in processes of their own: points side by side, timings one after another.

Results are kept by the hash of everything that decides them, so that a comparison can be interrupted and added to.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pacodec.common.files import replacing
from pacodec.errors import FileAccessError, PacodecError
from pacodec.evaluation.clips import Clip
from pacodec.evaluation.codecs import Codec
from pacodec.evaluation.curves import Curve, Setting
from pacodec.evaluation.quality import Quality

REVISION = 1
"""To be raised when what is measured, or how, changes."""


def default_folder() -> Path:
    """The XDG cache folder's pacodec/eval."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "pacodec" / "eval"


def describe(codec: Codec) -> dict[str, Any]:
    """A codec as JSON holds it; its class and its settings."""
    return {"kind": type(codec).__name__, "settings": asdict(codec)}  # type: ignore[call-overload]


def key_of(clip: Clip, codec: Codec) -> str:
    """The hash of frames, settings and versions."""
    return hashed([REVISION, clip.sha256, describe(codec), codec.identity()])


def hashed(values: object) -> str:
    """The sha256 of JSON values, in hexadecimal."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


class Cache:
    """JSON objects, and the coded packets beside them, in a folder."""

    def __init__(self, folder: Path) -> None:
        """Makes the folder; FileAccessError where that fails."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileAccessError(f"{folder}: {error.strerror}") from error
        self.folder = folder

    def packets(self, key: str) -> Path:
        """Where the packets of a result are."""
        return self.folder / f"{key}.packets"

    def get(self, key: str) -> dict[str, Any] | None:
        """The result of that name, None where there is none that can be read."""
        try:
            found = json.loads(self._path(key).read_text())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def put(self, key: str, result: Mapping[str, Any]) -> None:
        """Keep a result."""
        with replacing(str(self._path(key))) as part:
            part.write_text(json.dumps(dict(result)))

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"


ONE_CORE = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "SVT_LOG"), "1")
"""The environment of a measurement; SVT_LOG=1 keeps SVT-AV1 to errors."""

Progress = Callable[[int, int, str], None]
"""Called with measurements done, measurements in all, and what is being measured."""


@dataclass(frozen=True)
class CodingTask:
    """One setting of one curve on one clip."""

    clip: Clip
    curve: Curve
    setting: Setting

    @property
    def key(self) -> str:
        """The key under which the cache keeps the result."""
        return key_of(self.clip, self.setting.codec)

    @property
    def name(self) -> str:
        """The clip, codec and setting in words."""
        return f"{self.clip.name}, {self.curve.name} {self.setting.label}"


@dataclass(frozen=True)
class Measurement:
    """What coding a clip gave; `packets` is where its bytes are kept."""

    bytes: int
    notes: dict[str, Any]
    quality: Quality
    packets: Path


@dataclass(frozen=True)
class Timing:
    """Seconds and peak bytes of coding all frames on one core, as often as it was repeated."""

    encode_seconds: list[float]
    decode_seconds: list[float]
    encode_memory: int
    decode_memory: int


class Matrix:
    """All measurements of a run; `total` of them are announced to `progress`."""

    def __init__(self, cache: Cache, jobs: int, progress: Progress) -> None:
        self.cache, self.jobs, self.progress = cache, jobs, progress
        self.done = self.total = 0
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._stopped = False

    def measure(self, tasks: Sequence[CodingTask]) -> dict[str, Measurement]:
        """By the tasks' keys, sizes and qualities, from the cache where it has them, else `jobs` at a time.

        Raises PacodecError naming what failed. Left by an exception, it stops what is running.
        """
        with ThreadPoolExecutor(self.jobs) as pool:
            futures = [pool.submit(self._measure, task) for task in tasks]
            try:
                return {task.key: future.result() for task, future in zip(tasks, futures, strict=True)}
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                self._stop()
                raise

    def time(self, tasks: Sequence[CodingTask], measured: Mapping[str, Measurement], repeats: int) -> list[Timing]:
        """Speed and memory, interleaved: all tasks once, then all again. Kept for exactly this set of tasks.

        So what stands side by side was measured side by side; a curve more times all of them anew.
        """
        key = hashed(["timing", repeats, os.cpu_count(), [task.key for task in tasks]])
        kept = self.cache.get(key)
        if kept is not None:
            self._advance(2 * repeats * len(tasks), "timings are there already")
            return [Timing(**timing) for timing in kept["timings"]]
        runs: list[tuple[list[dict[str, Any]], list[dict[str, Any]]]] = [([], []) for _ in tasks]
        try:
            for _ in range(repeats):
                for task, (encodes, decodes) in zip(tasks, runs, strict=True):
                    packets = measured[task.key].packets
                    encodes.append(self._run("encode", task, packets))
                    decodes.append(self._run("decode", task, packets))
                    self._advance(2, f"speed of {task.name}")
        except BaseException:
            self._stop()
            raise
        timings = [
            Timing(
                [run["seconds"] for run in encodes],
                [run["seconds"] for run in decodes],
                max(run["memory"] for run in encodes),
                max(run["memory"] for run in decodes),
            )
            for encodes, decodes in runs
        ]
        self.cache.put(key, {"timings": [asdict(timing) for timing in timings]})
        return timings

    def _measure(self, task: CodingTask) -> Measurement:
        key = task.key
        packets = self.cache.packets(key)
        result = self.cache.get(key)
        if result is None or not packets.exists():
            result = self._run("point", task, packets)
            self.cache.put(key, result)
        self._advance(1, task.name)
        return Measurement(result["bytes"], result["notes"], Quality(**result["quality"]), packets)

    def _advance(self, count: int, name: str) -> None:
        with self._lock:
            self.done += count
            self.progress(self.done, self.total, name)

    def _run(self, kind: str, task: CodingTask, packets: Path) -> dict[str, Any]:
        """One worker's answer; of a point, the coded packets come to `packets`."""
        codec = describe(task.setting.codec)
        with tempfile.TemporaryDirectory() as folder:
            asked, answer, coded = (Path(folder, name) for name in ("request.json", "answer.json", "packets"))
            source = coded if kind == "point" else packets
            request = {"task": kind, "clip": task.clip.to_dict(), "codec": codec, "packets": str(source)}
            asked.write_text(json.dumps(request))
            errors = self._communicate(folder, [str(asked), str(answer)])
            if not answer.exists():
                raise PacodecError(f"{task.name}: the measurement failed: {errors[-1] if errors else 'no word why'}")
            result: dict[str, Any] = json.loads(answer.read_text())
            if "error" in result:
                raise PacodecError(f"{task.name}: {result['error']}")
            if kind == "point":
                shutil.move(coded, packets)
        return result

    def _communicate(self, folder: str, arguments: list[str]) -> list[str]:
        """Run a worker to its end, its temporary files in `folder`; the lines of its standard error."""
        command = [sys.executable, "-P", "-m", "pacodec.evaluation.worker", *arguments]
        with self._lock:
            if self._stopped:
                return ["stopped"]
            process = subprocess.Popen(  # noqa: S603 - no shell, our own program
                command,
                env={**os.environ, **ONE_CORE, "TMPDIR": folder},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,  # so that what it starts can be stopped with it
            )
            self._running.add(process)
        try:
            return process.communicate()[1].strip().splitlines()
        finally:
            with self._lock:
                self._running.discard(process)

    def _stop(self) -> None:
        with self._lock:
            self._stopped = True
            for process in self._running:
                with suppress(ProcessLookupError):  # it has ended meanwhile
                    os.killpg(process.pid, signal.SIGKILL)
