"""Faults of models."""

import hashlib
import json
import struct
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from vectors.making import surgery
from vectors.making.models import edited
from vectors.making.surgery import Change
from vectors.making.tampering import (
    BOMB,
    CORRUPT,
    LIMIT,
    MODEL,
    UNSUPPORTED,
    Fault,
    announced,
    fault,
    flip,
    zstd,
)


def learned(change: Callable[[dict[str, Any], dict[str, Any]], None]) -> Change:
    """Change the embedded model: its tensors and its hyper-parameters; the header names the result."""

    def changed(data: bytes) -> bytes:
        model = next(payload for kind, payload in surgery.split(data) if kind == "modl")
        length = int.from_bytes(model[:8], "little")
        description = json.loads(model[8 : 8 + length])
        metadata = description.pop("__metadata__")
        kinds = {"U8": "u1", "I8": "i1", "I32": "<i4"}
        tensors = {
            name: np.frombuffer(model[8 + length :][slice(*entry["data_offsets"])], kinds[entry["dtype"]])
            .reshape(entry["shape"])
            .copy()
            for name, entry in description.items()
        }
        hyperparameters = json.loads(metadata["hyperparameters"])
        change(tensors, hyperparameters)
        metadata["hyperparameters"] = json.dumps(hyperparameters)
        return renamed(data, surgery.safetensors(tensors, metadata))

    return changed


def remodelled(change: Change) -> Change:
    """Change the bytes of the embedded model; the header names the result."""
    return lambda data: renamed(data, change(next(body for kind, body in surgery.split(data) if kind == "modl")))


def renamed(data: bytes, model: bytes) -> bytes:
    """The file with another embedded model."""
    data = surgery.changed(data, "modl", lambda _: model)
    return surgery.header(model={"sha256": hashlib.sha256(model).digest()})(data)


def tensor(name: str, change: Callable[[Any], Any]) -> Change:
    """Change a tensor of the embedded model."""
    return learned(lambda tensors, _: tensors.update({name: change(tensors[name])}))


def without(name: str) -> Change:
    """The embedded model lacks a tensor."""
    return learned(lambda tensors, _: tensors.pop(name))


def of_type(name: str, kind: type[np.generic]) -> Change:
    """A tensor of the embedded model in another type."""
    return tensor(name, lambda value: value.astype(kind))


def hyper(**values: Any) -> Change:
    """Other hyper-parameters of the embedded model."""
    return learned(lambda _, hyperparameters: hyperparameters.update(values))


def with_screens(shape: list[int], content: bytes) -> Change:
    """Screens for the embedded model."""

    def change(tensors: dict[str, Any], hyperparameters: dict[str, Any]) -> None:
        tensors["screens"] = np.frombuffer(content, np.uint8)
        hyperparameters["screens"] = shape

    return learned(change)


def filled(number: int) -> Callable[[Any], Any]:
    """The same shape, all of a value."""
    return lambda value: np.full_like(value, number)


EMBEDDED: Mapping[str, tuple[str, Change, str]] = {
    "model-other": (
        "an embedded model that is not the header's",
        partial(surgery.changed, kind="modl", change=flip(-9)),
        CORRUPT,
    ),
    "model-damaged": ("one bit of the embedded model changed", flip(3000), CORRUPT),
    "model-over-limit": (
        "an embedded model of 2^30 + 1 bytes is announced",
        announced("modl", (1 << 30) + 1),
        LIMIT,
    ),
    "model-short": ("a model of 5 bytes", remodelled(lambda _: b"model"), CORRUPT),
    "model-header-over-limit": (
        "a header of 2^62 bytes",
        remodelled(lambda m: struct.pack("<Q", 1 << 62) + m[8:]),
        LIMIT,
    ),
    "model-header-long": (
        "a header longer than the model",
        remodelled(lambda m: struct.pack("<Q", 1 << 20) + m[8:]),
        CORRUPT,
    ),
    "model-no-json": ("a header that is no JSON", remodelled(lambda m: m[:8] + b"{" + m[8:]), CORRUPT),
    "model-future": ("a model of version 2", remodelled(lambda m: edited(m, pacodec="2")), UNSUPPORTED),
    "model-unknown": ("an unknown architecture", remodelled(lambda m: edited(m, arch="oracle")), MODEL),
    "model-cut": ("tensors that are cut", remodelled(lambda m: m[:-10]), CORRUPT),
    "model-tensor-missing": (
        "no tensor gate.weight",
        without("gate.weight"),
        CORRUPT,
    ),
    "model-tensor-type": (
        "a tensor of another type",
        of_type("gate.bias", np.int8),
        CORRUPT,
    ),
    "model-tensor-shape": ("a tensor of another shape", tensor("embedding", lambda value: value[:-1]), CORRUPT),
    "model-floats": (
        "a tensor of floats",
        of_type("gate.bias", np.float32),
        CORRUPT,
    ),
    "model-shift": ("a shift of 31", tensor("codes.shift", filled(31)), CORRUPT),
    "model-shift-negative": ("a shift of -1", tensor("codes.shift", filled(-1)), CORRUPT),
    "model-inexact": ("sums that can reach 2^24", tensor("gate.bias", filled(1 << 24)), CORRUPT),
    "model-radii": ("12 windows", hyper(radii=[0] * 12), CORRUPT),
    "model-radius": ("a window of radius 9", hyper(radii=[9, 0, 0, 0]), CORRUPT),
    "model-inputs": ("more than 8192 inputs", hyper(radii=[8] * 8, embedding=32), LIMIT),
    "model-passes": ("four passes", hyper(passes=4), CORRUPT),
    "model-hidden": ("1025 hidden units", hyper(hidden=1025), CORRUPT),
    "model-screens": ("254 screens", with_screens([254, 1, 1], zstd(bytes(254))), LIMIT),
    "model-screens-large": (
        "screens of more than 2^26 codes",
        with_screens([1, 8192, 8193], zstd(b"")),
        LIMIT,
    ),
    "model-screens-shape": ("screens of no shape", with_screens([0, 4, 4], zstd(b"")), CORRUPT),
    "model-screens-few": ("fewer codes than screens take", with_screens([1, 24, 32], zstd(bytes(9))), CORRUPT),
    "model-screens-bomb": ("screens that are more than they say", with_screens([1, 24, 32], BOMB), CORRUPT),
}
"""What is wrong, how to make it so, and the error, of embedded models."""
POSTFILTERS: Mapping[str, tuple[str, Change, str]] = {
    "tensor-missing": (
        "no tensor postfilter.block1.b.weight",
        without("postfilter.block1.b.weight"),
        CORRUPT,
    ),
    "tensor-type": (
        "a tensor of another type",
        of_type("postfilter.first.weight", np.int32),
        CORRUPT,
    ),
    "tensor-shape": (
        "a tensor of another shape",
        tensor("postfilter.last.weight", lambda value: value.reshape(12, 3, 3, -1)),
        CORRUPT,
    ),
    "tensor-rows": ("a layer of 11 rows", tensor("postfilter.last.bias", lambda value: value[:-1]), CORRUPT),
    "floats": (
        "a tensor of floats that is not the post-filter's",
        of_type("gate.bias", np.float32),
        CORRUPT,
    ),
    "shift": ("a shift of 31", tensor("postfilter.block1.a.shift", filled(31)), CORRUPT),
    "shift-negative": ("a shift of -1", tensor("postfilter.last.shift", filled(-1)), CORRUPT),
    "inexact": ("sums that can reach 2^24", tensor("postfilter.first.bias", filled(-(1 << 24))), CORRUPT),
    "missing": ("no word of a post-filter", hyper(postfilter=None), CORRUPT),
    "number": ("a number for a shape", hyper(postfilter=4), CORRUPT),
    "width-alone": ("a width and no number of blocks", hyper(postfilter=[4]), CORRUPT),
    "width-float": ("a width that is no int", hyper(postfilter=[4.0, 1]), CORRUPT),
    "blocks-bool": ("a bool for a number of blocks", hyper(postfilter=[4, True]), CORRUPT),
    "width-other": ("a width that is not that of the tensors", hyper(postfilter=[5, 1]), CORRUPT),
    "width-zero": ("a width of 0", hyper(postfilter=[0, 1]), LIMIT),
    "width-over-limit": ("a width of 129", hyper(postfilter=[129, 1]), LIMIT),
    "width-huge": ("a width of 2^62", hyper(postfilter=[1 << 62, 1]), LIMIT),
    "blocks-negative": ("-1 blocks", hyper(postfilter=[4, -1]), LIMIT),
    "blocks-over-limit": ("five blocks", hyper(postfilter=[4, 5]), LIMIT),
}
"""The same of post-filters."""
MODELS: Mapping[str, Fault] = {
    "model-missing": fault(
        "a model that nobody has", surgery.header(model={"sha256": bytes(32)}), MODEL, base="learned"
    ),
    "model-missing-pictures": fault(
        "a model that nobody has, for pictures only",
        surgery.header(model={"sha256": bytes(32)}),
        MODEL,
        base="conv4-scale",
        verify=0,
    ),
    "model-autoencoder": fault(
        "codes foreseen by an autoencoder", surgery.header(predictor={"name": "learned"}), MODEL, base="conv4-scale"
    ),
    "model-missing-filtered": fault(
        "a model that nobody has, for its colours and its post-filter only",
        surgery.header(model={"sha256": bytes(32)}),
        MODEL,
        base="filtered-q5",
        verify=0,
    ),
    **{name: fault(about, change, error, base="learned-embedded") for name, (about, change, error) in EMBEDDED.items()},
    **{
        f"postfilter-{name}": fault(about, change, error, base="filtered-embedded")
        for name, (about, change, error) in POSTFILTERS.items()
    },
}
