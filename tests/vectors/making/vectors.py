"""Where the vectors lie, and how both readers come by the models that some of them need."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from unittest import mock

import numpy as np
import zstandard
from independent.reader import Video, read
from numpy.typing import NDArray

from pacodec import models

FOLDER = Path(__file__).parent.parent
MANIFEST = FOLDER / "manifest.json"
MODELS = FOLDER / "models"
PIXELS = FOLDER / "pixels"
KINDS = ("valid", "uncommon", "faulty")


def stored(name: str) -> bytes:
    """The bytes of a vector, named without suffix."""
    return (FOLDER / f"{name}.pac").read_bytes()


def pixels_path(path: str) -> Path:
    """The pictures of a vector whose transform is not exact: zstd of uint8 [n, H, W, 3]."""
    return PIXELS / f"{Path(path).stem}.rgb.zst"


def reference_pixels(path: str, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """The pictures of a vector as they were made, which others may miss by one level."""
    data = zstandard.ZstdDecompressor().decompress(pixels_path(path).read_bytes())
    return np.frombuffer(data, np.uint8).reshape(shape).astype(np.int64)


def unpack_models(folder: Path) -> None:
    """Put the vectors' models into a folder."""
    folder.mkdir(parents=True)
    for path in sorted(MODELS.glob("*.zst")):
        (folder / path.stem).write_bytes(zstandard.ZstdDecompressor().decompress(path.read_bytes()))


@contextmanager
def installed_models(folder: Path) -> Iterator[Path]:
    """Within, the vectors' models, unpacked into a new folder, are those that pacodec finds, and no others are."""
    unpack_models(folder)
    nowhere = folder.parent / "nowhere"
    with (
        mock.patch.dict("os.environ", {models.MODEL_FOLDER_VARIABLE: str(folder)}),
        mock.patch.object(models, "shipped_folder", return_value=nowhere),
    ):
        yield folder


@cache
def find_model(sha256: bytes) -> bytes | None:
    """The bytes of a vectors' model, for the independent reader."""
    for path in MODELS.glob("*.zst"):
        data = zstandard.ZstdDecompressor().decompress(path.read_bytes())
        if hashlib.sha256(data).digest() == sha256:
            return data
    return None


def independently(path: Path) -> Video:
    """A file as the independent reader reads it."""
    return read(path.read_bytes(), find_model)
