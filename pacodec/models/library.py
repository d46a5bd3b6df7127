"""Where models are found: by path; by name, hash or footage in the user's folder, then among those of the package."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from pacodec.common.media import Grids, GridSpec, Image
from pacodec.common.metrics import Distortion
from pacodec.common.pixels import MAX_COLOURS
from pacodec.engine import SegmentEncoder, State
from pacodec.engine.prior import prior_of
from pacodec.errors import CorruptFileError, FileAccessError, LimitError, ModelError, PacodecError, UnsupportedError
from pacodec.models.files import SUFFIX, ModelFile
from pacodec.models.recording import RECORDING, model_palette, model_recording
from pacodec.transforms.palette import PaletteTransform, learn_palette

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


LEAST_PSNR = 40.0
"""dB of the sample in a model's colours, for it to be the model's kind of footage."""
MOST_NEW = 0.05
"""Share of the sample's pixels that may have colours which the model lacks."""
LEAST_GAIN = 0.1
"""Share of the sample's bytes that a model must save."""


def matching_model(sample: Sequence[Image]) -> ModelFile | None:
    """The model that makes a sample, uint8 [H, W, 3] each, smallest; None where none is of any use.

    Of the files, only names, sizes and metadata are read until size and colours fit.
    """
    height, width = sample[0].shape[:2]
    best: tuple[int, ModelFile] | None = None
    candidates = [path for path in paths() if _is_recording_of(path, height, width)]
    few = bool(candidates) and len(learn_palette(sample)) < MAX_COLOURS
    for path in candidates:
        try:
            model = ModelFile.read(path)
            saved = _saved(sample, model, exactly=few)
        except (CorruptFileError, UnsupportedError, LimitError):  # `pacodec models` says which; others may do
            continue
        if saved > 0 and (best is None or saved > best[0]):
            best = saved, model
    return best and best[1]


def _is_recording_of(path: Path, height: int, width: int) -> bool:
    """Whether a file's metadata say so."""
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            shape = f", {height}, {width}]"
            return metadata.get("arch") == RECORDING and shape in metadata.get("hyperparameters", "")
    except (SafetensorError, OSError):  # `pacodec models` says what is wrong with it
        return False


def _saved(sample: Sequence[Image], model: ModelFile, *, exactly: bool) -> int:
    """Bytes of the sample that the model saves, 0 where its colours do not suit it or it does not save enough."""
    colours = model_palette(model)
    palette = PaletteTransform(colours, room=MAX_COLOURS - len(colours))
    pictures = np.stack(sample)
    codes = palette.encode(pictures)
    if not palette.exact and (exactly or Distortion.of(pictures, palette.decode(codes)).psnr < LEAST_PSNR):
        return 0
    recording = model_recording(model)
    if recording is None or (codes >= len(colours)).mean() > MOST_NEW:
        return 0
    spec = GridSpec(1, codes.shape[2], codes.shape[3], ordinal=False)
    alone = _size(codes, State.fresh(spec))
    with prior_of(recording, spec).borrowed() as state:
        after = _size(codes, state)
    return alone - after if after < (1 - LEAST_GAIN) * alone else 0


def _size(codes: Grids, state: State) -> int:
    """Bytes of code grids coded after what a state knows, which it changes."""
    encoder = SegmentEncoder(state)
    encoder.push(codes)
    return len(encoder.finish())
