"""Section "Model files"."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from independent.plain import unzstd
from independent.refusal import Corrupt, Unsupported, bounded, expect
from numpy.typing import NDArray

MAX_BYTES, MAX_HEADER_BYTES, MAX_SCREENS, MAX_SCREEN_CODES = 1 << 30, 1 << 20, 253, 1 << 26
TYPES = {"U8": "u1", "I8": "i1", "I32": "<i4", "F16": "<f2", "F32": "<f4"}
INTEGERS = ("u1", "i1", "<i4")


@dataclass(frozen=True)
class ModelFile:
    """Architecture, hyper-parameters and tensors as they are stored."""

    arch: str
    hyperparameters: Mapping[str, Any]
    tensors: Mapping[str, NDArray[Any]]

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """The tensors of an autoencoder, 8-bit ones scaled."""
        values = {}
        for name, stored in self.tensors.items():
            if name.endswith("@scale"):
                continue
            value = stored.astype(np.float32)
            if stored.dtype == np.int8:
                value *= self.tensors[f"{name}@scale"][..., None]
            expect(bool(np.isfinite(value).all()), f"{name} holds values that are not finite")
            values[name] = value
        return values


def read_model(data: bytes) -> ModelFile:
    """The model in the bytes of a file."""
    bounded("the size of the model", len(data), MAX_BYTES)
    expect(len(data) >= 8, "a model file is shorter than its first field")
    length = bounded("the header of the model", int.from_bytes(data[:8], "little"), MAX_HEADER_BYTES)
    try:
        header = json.loads(data[8 : 8 + length])
        metadata = header.pop("__metadata__")
        version, arch = int(metadata["pacodec"]), str(metadata["arch"])
        hyperparameters = json.loads(metadata["hyperparameters"])
        expect(isinstance(hyperparameters, dict), "the hyper-parameters are no object")
        if version > 1:
            raise Unsupported(f"a model file of version {version}")
        tensors = {name: _tensor(entry, data[8 + length :]) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Corrupt(f"not a model file: {error!r}") from None
    return ModelFile(arch, hyperparameters, tensors)


def _tensor(entry: Mapping[str, Any], data: bytes) -> NDArray[Any]:
    begin, end = entry["data_offsets"]
    expect(0 <= begin <= end <= len(data), "a tensor lies outside the model file")
    return np.frombuffer(data[begin:end], TYPES[entry["dtype"]]).reshape(entry["shape"])


def tensor(tensors: Mapping[str, NDArray[Any]], name: str, kind: type, shape: tuple[int, ...]) -> NDArray[Any]:
    """The tensor of that name, which has to be of a type and shape."""
    expect(name in tensors, f"the model has no {name}")
    found = tensors[name]
    expect(found.dtype == kind and found.shape == shape, f"{name} is of another type or shape")
    return found


def check_layer(
    tensors: Mapping[str, NDArray[Any]], name: str, rows: int, columns: int, biases: tuple[int, ...], most: int
) -> None:
    """That a layer is as the format wants it, and exact for inputs of at most `most`."""
    weight = tensor(tensors, f"{name}.weight", np.int8, (rows, columns)).astype(np.int64)
    bias = tensor(tensors, f"{name}.bias", np.int32, biases).astype(np.int64).reshape(-1, rows)
    shift = tensor(tensors, f"{name}.shift", np.int8, (rows,))
    expect(bool(((shift >= 0) & (shift <= 30)).all()), f"a shift of {name} is not in 0..30")
    largest = np.abs(weight).sum(1) * most + np.abs(bias).max(0)
    expect(int(largest.max()) < 1 << 24, f"sums of {name} can reach 2^24")


class Network:
    """The network of a predictive model, with its screens."""

    def __init__(self, model: ModelFile) -> None:
        self._tensors, values = model.tensors, model.hyperparameters
        expect(all(t.dtype in INTEGERS for t in self._tensors.values()), "a predictive model is not all of integers")
        radii = values.get("radii")
        expect(isinstance(radii, list) and 4 <= len(radii) <= 11, "the radii are not 4 to 11")
        self.radii = [_within(radius, 0, 8) for radius in radii or []]
        expect(values.get("passes") == 5, "the passes are not 5")
        self.dilation, self.history = _within(values.get("dilation"), 1, 8), _within(values.get("history"), 1, 8)
        self.hold = _within(values.get("hold"), 1, 256)
        embedded, hidden = _within(values.get("embedding"), 1, 32), _within(values.get("hidden"), 1, 1024)
        layers = _within(values.get("layers"), 0, 8)
        inputs = bounded("the inputs", embedded * sum((2 * radius + 1) ** 2 for radius in self.radii), 8192)
        self.embedding = tensor(self._tensors, "embedding", np.int8, (258, embedded))
        check_layer(self._tensors, "first", hidden, inputs, (5, hidden), 128)
        self._hidden = [f"hidden{k}" for k in range(1, layers + 1)]
        for name in self._hidden:
            check_layer(self._tensors, name, hidden, hidden, (hidden,), 255)
        check_layer(self._tensors, "gate", 1, hidden, (1,), 255)
        check_layer(self._tensors, "codes", 256, hidden, (256,), 255)
        self.screens = np.zeros((0, 0, 0), np.uint8)
        if "screens" in self._tensors:
            self.screens = self._read_screens(values.get("screens"))

    def outlook(self, inputs: NDArray[np.int64], number: int) -> tuple[list[int], NDArray[np.int64]]:
        """Of the inputs [n, I] of places in a pass: their gates, and what the logits are made of."""
        y = self._layer("first", inputs, self._tensors["first.bias"][number]).clip(0, 255)
        for name in self._hidden:
            y = self._layer(name, y, self._tensors[f"{name}.bias"]).clip(0, 255)
        gates: list[int] = self._layer("gate", y, self._tensors["gate.bias"])[:, 0].tolist()
        return gates, y

    def logits(self, hidden: NDArray[np.int64]) -> list[list[int]]:
        """256 a place."""
        values: list[list[int]] = self._layer("codes", hidden, self._tensors["codes.bias"]).tolist()
        return values

    def _layer(self, name: str, x: NDArray[np.int64], bias: NDArray[Any]) -> NDArray[np.int64]:
        sums: NDArray[np.int64] = x @ self._tensors[f"{name}.weight"].astype(np.int64).T + bias
        return sums >> self._tensors[f"{name}.shift"].astype(np.int64)

    def _read_screens(self, shape: object) -> NDArray[np.uint8]:
        expect(isinstance(shape, list) and len(shape) == 3, "the shape of the screens is malformed")
        assert isinstance(shape, list)
        expect(all(type(n) is int and n > 0 for n in shape), "the shape of the screens is malformed")
        bounded("the screens", shape[0], MAX_SCREENS)
        size = bounded("the codes of the screens", shape[0] * shape[1] * shape[2], MAX_SCREEN_CODES)
        packed = tensor(self._tensors, "screens", np.uint8, (self._tensors["screens"].size,)).tobytes()
        return np.frombuffer(unzstd(packed, "screens", size), np.uint8).reshape(shape)


def _within(value: object, least: int, most: int) -> int:
    expect(type(value) is int and least <= value <= most, f"a hyper-parameter is {value!r}, not in {least}..{most}")
    assert isinstance(value, int)
    return value
