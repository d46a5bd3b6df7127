"""Where models are found: a path, then the user's model folder, then the ones shipped with the package."""

import os
from collections.abc import Iterator
from pathlib import Path

from pacodec.errors import FileAccessError, ModelError, PacodecError
from pacodec.models.files import SUFFIX, ModelFile

MODEL_FOLDER_VARIABLE = "PACODEC_MODELS"
"""Environment variable that names the user's model folder."""


def user_folder() -> Path:
    """$PACODEC_MODELS, else the XDG data folder's pacodec/models."""
    if configured := os.environ.get(MODEL_FOLDER_VARIABLE):
        return Path(configured)
    data_home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data_home).expanduser() / "pacodec" / "models"


def shipped_folder() -> Path:
    """`_weights` inside an installed package, or `weights` beside it in a checkout."""
    package = Path(__file__).parent.parent
    installed = package / "_weights"
    return installed if installed.is_dir() else package.parent / "weights"


def find(name: str) -> ModelFile:
    """The model that `name` means: a path where it looks like one or exists, else a name in the two folders.

    Raises ModelError when there is none, and what `ModelFile.read` raises.
    """
    path = Path(name)
    if path.suffix == SUFFIX or path.is_file():
        if not path.exists():
            raise ModelError(f"{name}: no such model file")
        return ModelFile.read(path)
    if path.parent == Path():  # a bare name
        for folder in (user_folder(), shipped_folder()):
            candidate = folder / f"{name}{SUFFIX}"
            if candidate.is_file():
                return ModelFile.read(candidate)
    known = ", ".join(sorted({path.stem for path in paths()}))
    raise ModelError(f"{name}: no such model; known are {known or 'none'}")


def find_by_hash(sha256: bytes, name: str, extra: str | None = None) -> ModelFile:
    """The model of that identity: `extra` (a name or path) if given, else by name, else any of the folders' files.

    Raises ModelError when none has it; the message says whether the name exists with other contents.
    """
    if extra is not None:
        model = find(extra)
        if model.sha256 != sha256:
            raise ModelError(f"{extra}: not the model this file was made with ({name}, sha256 {sha256.hex()[:16]}...)")
        return model
    mismatched = False
    for path in sorted(paths(), key=lambda path: path.stem != name):
        try:
            model = ModelFile.read(path)
        except PacodecError:  # a broken neighbour in the folder is not this file's problem
            continue
        if model.sha256 == sha256:
            return model
        mismatched |= model.name == name
    why = (
        "the one of that name here is another"
        if mismatched
        else "pass it with -m, or put it into " + str(user_folder())
    )
    raise ModelError(f"the model {name} (sha256 {sha256.hex()[:16]}...) is needed and was not found: {why}")


def paths() -> Iterator[Path]:
    """The model files of both folders."""
    for folder in (user_folder(), shipped_folder()):
        try:
            yield from sorted(folder.glob(f"*{SUFFIX}"))
        except OSError as error:
            raise FileAccessError(f"{folder}: {error.strerror}") from error
