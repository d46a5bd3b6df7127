"""Model files: safetensors with what was trained, on what and how well, identified by the sha256 of their bytes.

A model file is untrusted: sizes are checked before memory is taken, and nothing in it is ever executed.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from pacodec import limits
from pacodec.errors import CorruptFileError, FileAccessError, UnsupportedError

FORMAT_VERSION = 1
SUFFIX = ".pacmodel"
SCALE_SUFFIX = "@scale"
"""An int8 tensor X holds X = int8 * X@scale, one float32 scale a row."""
INTEGER_TYPES = (np.uint8, np.int8, np.int32)
"""Of the tensors of a recording."""


@dataclass(frozen=True)
class ModelInfo:
    """The metadata block of a model file."""

    arch: str
    hyperparameters: Mapping[str, Any]
    training: Mapping[str, Any] = field(default_factory=dict)
    """What it was trained on and for how long."""
    quality: Mapping[str, Any] = field(default_factory=dict)
    """Measured on held-out footage: psnr (mean, dB), psnr_low (5th percentile of frames), frames."""


@dataclass(frozen=True)
class ModelFile:
    """A model as it lies in a file or in a .pac."""

    name: str
    data: bytes = field(repr=False)
    sha256: bytes = field(repr=False)
    info: ModelInfo

    @classmethod
    def read(cls, path: Path) -> "ModelFile":
        """Load a file; FileAccessError, CorruptFileError, LimitError or UnsupportedError say what is wrong."""
        try:
            limits.check("size of the model file", path.stat().st_size, limits.MAX_MODEL_BYTES)
            data = path.read_bytes()
        except OSError as error:
            raise FileAccessError(f"{path}: {error.strerror}") from error
        return cls.parse(data, path.stem, str(path))

    @classmethod
    def parse(cls, data: bytes, name: str, source: str) -> "ModelFile":
        """The model in `data`, which came from `source`."""
        return cls(name, data, hashlib.sha256(data).digest(), _parse_info(data, source))

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """All weights as float32, 8-bit ones scaled back. CorruptFileError where the tensors are malformed."""
        stored = self._stored()
        weights = {}
        for name, values in stored.items():
            if name.endswith(SCALE_SUFFIX):
                continue
            if values.dtype == np.int8:
                scale = stored.get(name + SCALE_SUFFIX)
                if scale is None or scale.shape != values.shape[:-1]:
                    raise CorruptFileError(f"{self.name}: the scales of {name} are missing or of the wrong shape")
                with np.errstate(all="ignore"):  # a hostile scale; what it leads to is refused below
                    weights[name] = values.astype(np.float32) * scale.astype(np.float32)[..., None]
            elif values.dtype in (np.float16, np.float32):
                weights[name] = values.astype(np.float32)
            else:
                raise CorruptFileError(f"{self.name}: tensor {name} is of type {values.dtype}")
            if not np.isfinite(weights[name]).all():
                raise CorruptFileError(f"{self.name}: tensor {name} holds values that are no numbers")
        return weights

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The tensors of a recording as they are stored; CorruptFileError where one is not of integers."""
        stored = self._stored()
        for name, values in stored.items():
            if values.dtype not in INTEGER_TYPES:
                raise CorruptFileError(f"{self.name}: tensor {name} is of type {values.dtype}")
        return stored

    def _stored(self) -> dict[str, NDArray[Any]]:
        try:
            stored: dict[str, NDArray[Any]] = load(self.data)
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise CorruptFileError(f"{self.name}: not a valid model file ({error})") from error
        return stored


def dump(weights: Mapping[str, NDArray[np.float32]], info: ModelInfo) -> bytes:
    """The bytes of a model file: large matrices in 8 bits with a scale a row, all else in half or single precision.

    A fully-connected network is nearly all matrix; a convolution is small, and half precision costs it nothing. The
    biases of linear layers span orders of magnitude, since components of little variance are scaled up to the code's
    range: one scale for all would drown most of them.
    """
    stored: dict[str, NDArray[Any]] = {}
    for name, values in weights.items():
        if values.ndim == 3 and values.shape[1] > 1:
            scale = np.maximum(np.abs(values).max(-1), 1e-12) / 127
            stored[name] = np.rint(values / scale[..., None]).astype(np.int8)
            stored[name + SCALE_SUFFIX] = scale.astype(np.float32)
        else:
            stored[name] = values.astype(np.float32 if values.ndim == 3 else np.float16)
    return dump_arrays(stored, info)


def dump_arrays(arrays: Mapping[str, NDArray[Any]], info: ModelInfo) -> bytes:
    """The bytes of a model file with these tensors, stored as they are."""
    metadata = {
        "pacodec": str(FORMAT_VERSION),
        "arch": info.arch,
        "hyperparameters": json.dumps(dict(info.hyperparameters), sort_keys=True),
        "training": json.dumps(dict(info.training), sort_keys=True),
        "quality": json.dumps(dict(info.quality), sort_keys=True),
    }
    # The file has no word for an order in memory, and safetensors writes what lies there: channels last, say.
    return _canonical(save({name: np.ascontiguousarray(values) for name, values in arrays.items()}, metadata))


def _canonical(data: bytes) -> bytes:
    """The same file with its metadata sorted: the library writes it in any order, and equal models are equal bytes."""
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[start:]


def _parse_info(data: bytes, source: str) -> ModelInfo:
    """Read the safetensors header alone (8 bytes of little-endian length, then JSON), after checking its length."""
    if len(data) < 8 or data[8:9] != b"{":
        raise CorruptFileError(f"{source}: not a model file")
    length = int.from_bytes(data[:8], "little")
    limits.check(f"{source}: header of the model file", length, limits.MAX_MODEL_HEADER_BYTES)
    try:
        metadata = json.loads(data[8 : 8 + length])["__metadata__"]
        version = int(metadata["pacodec"])
        if version > FORMAT_VERSION:
            raise UnsupportedError(
                f"{source}: a model of format version {version}; this program reads {FORMAT_VERSION}"
            )
        maps = {key: json.loads(metadata[key]) for key in ("hyperparameters", "training", "quality")}
        if not all(isinstance(value, dict) for value in maps.values()):
            raise CorruptFileError(f"{source}: malformed model metadata")
        return ModelInfo(str(metadata["arch"]), **maps)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise CorruptFileError(f"{source}: not a pacodec model file") from error
