"""The study's data set: frames of recordings at 160 x 200, split by recording, none of them twice.

A folder holds one .npy of uint8 [n, 200, 160, 3] a recording and `manifest.json`, which names the sources, their sizes
and sha256, the role of each recording, and which of its frames are kept.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pacodec.common.files import fingerprint, write_whole, writing
from pacodec.common.pixels import resize
from pacodec.errors import CorruptFileError, FileAccessError, UsageError
from pacodec.gop.parallel import cores
from pacodec.training.fit import Frames
from pacodec.video.reader import VideoReader

WIDTH, HEIGHT = 160, 200
EVERY = 10
"""Of which the study kept one: neighbours repeat."""
MANIFEST = "manifest.json"
ROLES = ("train", "validation", "test")
FORMAT = 1


@dataclass(frozen=True)
class StudyRecording:
    """One source and what was kept of it."""

    name: str
    """Of the .npy file, without the suffix."""
    source: str
    source_bytes: int
    source_sha256: str
    role: str
    every: int
    read: int
    """Frames of the source."""
    taken: int
    """Every n-th of them."""
    bytes: int
    sha256: str
    """Of the .npy file."""
    kept: tuple[int, ...]
    """Indices into the .npy of the frames that no other recording, and no earlier frame of this one, has.

    Test recordings come first, then validation: a picture that occurs there is not trained on.
    """


@dataclass(frozen=True)
class Dataset:
    """A prepared folder."""

    folder: Path
    recordings: tuple[StudyRecording, ...]

    @classmethod
    def open(cls, folder: Path) -> "Dataset":
        """Read the manifest; FileAccessError where there is none, CorruptFileError where it is not one."""
        path = folder / MANIFEST
        try:
            data = json.loads(path.read_text())
            if data["format"] != FORMAT:
                raise CorruptFileError(f"{path}: a manifest of another version")
            found = tuple(StudyRecording(**{**each, "kept": tuple(each["kept"])}) for each in data["recordings"])
        except OSError as error:
            raise FileAccessError(f"{path}: {error.strerror}; `pacodec study prepare` makes it") from error
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptFileError(f"{path}: not a manifest of a data set") from error
        return cls(folder, found)

    def frames(self, role: str) -> list[Frames]:
        """The kept frames of each recording of a role, uint8 [n, 200, 160, 3]; CorruptFileError for damaged ones."""
        return [self._load(recording) for recording in self.recordings if recording.role == role]

    def names(self, role: str) -> list[str]:
        """The recordings of a role."""
        return [recording.name for recording in self.recordings if recording.role == role]

    @property
    def sha256(self) -> str:
        """Identifies the frames and their roles."""
        parts = [(each.sha256, each.role, each.kept) for each in self.recordings]
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def count(self, role: str) -> int:
        """Kept frames of a role."""
        return sum(len(each.kept) for each in self.recordings if each.role == role)

    def _load(self, recording: StudyRecording) -> Frames:
        path = _frames_path(self.folder, recording.name)
        try:
            frames: Frames = np.load(path)
        except (OSError, ValueError) as error:
            raise CorruptFileError(f"{path}: not the frames that the manifest names") from error
        if frames.dtype != np.uint8 or frames.shape != (recording.taken, HEIGHT, WIDTH, 3):
            raise CorruptFileError(f"{path}: not the frames that the manifest names")
        return frames[list(recording.kept)]


def prepare(
    clips: Sequence[str],
    folder: Path,
    *,
    validation: Sequence[str] = (),
    test: Sequence[str] = (),
    every: int = EVERY,
    report: Callable[[str], None] = lambda message: None,
) -> Dataset:
    """Make the data set in `folder`, or bring it up to date.

    The last tenth of `clips` is the test split and the tenth before that the validation split, unless `validation` and
    `test` name others; `test` alone leaves none to validate on. Every `every`-th frame of the training recordings is
    taken, and every tenth of the others. Recordings that the folder has already, by their sha256, are not read again.

    Raises UsageError (too few clips, names that clash), FileAccessError, CorruptFileError (a clip is no video).
    """
    sources = [*clips, *validation, *test]
    if not clips or len(sources) < (2 if test else len(ROLES)):
        raise UsageError(f"{len(sources)} recordings cannot be split into those to train on, to validate and to test")
    names = [Path(source).stem for source in sources]
    if len(set(names)) < len(names):
        raise UsageError("two recordings have the same name")
    roles = _roles(len(clips), len(validation), len(test))
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(cores()) as pool:  # decoding leaves the interpreter to others
        steps = [every if role == ROLES[0] else EVERY for role in roles]
        jobs = zip(sources, names, roles, steps, strict=True)
        made = [pool.submit(_record, folder, *job, report) for job in jobs]
        found = _without_repeats(folder, [each.result() for each in made])
    manifest = {"format": FORMAT, "width": WIDTH, "height": HEIGHT, "recordings": [asdict(each) for each in found]}
    write_whole(str(folder / MANIFEST), json.dumps(manifest, indent=1).encode())
    return Dataset(folder, tuple(found))


def _roles(clips: int, validation: int, test: int) -> list[str]:
    if test:  # without recordings to validate on, those that are trained on must do
        return ["train"] * clips + ["validation"] * validation + ["test"] * test
    held = max(1, clips // 10)
    own = 0 if validation else held
    return ["train"] * (clips - held - own) + ["validation"] * own + ["test"] * held + ["validation"] * validation


def _record(
    folder: Path, source: str, name: str, role: str, every: int, report: Callable[[str], None]
) -> StudyRecording:
    """The frames of one source: those that are there already, or new ones."""
    digest, size = fingerprint(source)
    path, note = _frames_path(folder, name), folder / f"{name}.json"
    try:
        noted: dict[str, Any] = json.loads(note.read_text())
        if noted["source_sha256"] == digest and noted["every"] == every and path.stat().st_size == noted["bytes"]:
            return StudyRecording(**{**noted, "role": role, "source": source, "kept": ()})
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not there, or of another version: made anew
    frames, read = _read(source, every)
    with writing(str(path)) as file:
        np.save(file, frames)
    made_digest, made_size = fingerprint(path)
    made = StudyRecording(name, source, size, digest, role, every, read, len(frames), made_size, made_digest, ())
    write_whole(str(note), json.dumps(asdict(made)).encode())
    report(f"{source}: {len(frames)} of {read} frames, {role}")
    return made


def _read(source: str, every: int) -> tuple[Frames, int]:
    kept: list[Frames] = []
    read = 0
    with VideoReader(source) as reader:
        for frame in reader.frames():
            if read % every == 0:
                kept.append(resize(frame.rgb[None], HEIGHT, WIDTH)[0])
            read += 1
    if not kept:
        raise CorruptFileError(f"{source}: no frame of it can be decoded")
    return np.stack(kept), read


def _without_repeats(folder: Path, recordings: list[StudyRecording]) -> list[StudyRecording]:
    """The same with `kept` filled in."""
    seen: set[bytes] = set()
    kept: dict[str, tuple[int, ...]] = {}
    for recording in sorted(recordings, key=lambda each: -ROLES.index(each.role)):
        fresh = []
        for index, frame in enumerate(np.load(_frames_path(folder, recording.name), mmap_mode="r")):
            key = hashlib.blake2b(frame.tobytes(), digest_size=16).digest()
            if key not in seen:
                seen.add(key)
                fresh.append(index)
        kept[recording.name] = tuple(fresh)
    return [StudyRecording(**{**vars(each), "kept": kept[each.name]}) for each in recordings]


def _frames_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.npy"
