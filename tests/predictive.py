"""Tiny predictive models of pseudo-random integers, grids to code with them, and their network computed anew."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from pacodec.grids import Grids, GridSpec
from pacodec.predictors import learned
from pacodec.predictors.base import GridDecoder, GridEncoder, Predictor
from pacodec.predictors.crew import Crew
from pacodec.predictors.learned import PREDICTIVE, LearnedPredictor
from pacodec.predictors.network import Geometry, IntegerNetwork
from pacodec.predictors.passes import PASSES
from pacodec.predictors.squeezed import compress
from pacodec.transforms.postfilter import POSTFILTER
from pacodec.weights import ModelFile, ModelInfo, dump_arrays

TINY: Mapping[str, Any] = {
    "radii": [2, 2, 1, 1, 1],
    "dilation": 2,
    "history": 2,
    "hold": 4,
    "embedding": 4,
    "hidden": 16,
    "layers": 2,
    "passes": PASSES,
}
NO_SCREEN = 255
"""First byte of a payload that holds its first grid."""
Arrays = dict[str, NDArray[Any]]
Product = Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]
"""x [n, k] and W [m, k], both of integers, to x W^T [n, m] in whatever way."""


def integers(name: str, shape: Sequence[int], bits: int) -> NDArray[np.int64]:
    """Integers of `bits` bits with a sign that the name alone decides, now and with any later numpy."""
    count = int(np.prod(shape))
    wide = np.frombuffer(hashlib.shake_256(name.encode()).digest(2 * count), "<i2").astype(np.int64)
    return (wide >> (16 - bits)).reshape(shape)


def make_arrays(hyperparameters: Mapping[str, Any] = TINY, seed: int = 0) -> Arrays:
    """Tensors of a network whose activations use their range and whose gate is sometimes certain, sometimes not."""
    g = Geometry.from_hyperparameters(hyperparameters)
    shapes = {"first": (g.hidden, g.inputs)}
    shapes |= {f"hidden{k + 1}": (g.hidden, g.hidden) for k in range(g.layers)}
    shapes |= {"gate": (1, g.hidden), "codes": (256, g.hidden)}
    bits = {"first": 4, "gate": 8, "codes": 7}
    shifts = {"first": 5, "gate": 4, "codes": 4}
    arrays: Arrays = {"embedding": integers(f"{seed} embedding", (258, g.embedding), 8).astype(np.int8)}
    for name, shape in shapes.items():
        biases = (PASSES, g.hidden) if name == "first" else (shape[0],)
        arrays[f"{name}.weight"] = integers(f"{seed} {name} weight", shape, bits.get(name, 7)).astype(np.int8)
        arrays[f"{name}.bias"] = integers(f"{seed} {name} bias", biases, 12).astype(np.int32)
        shift = shifts.get(name, 7) + (integers(f"{seed} {name} shift", shape[:1], 1) if name != "gate" else 0)
        arrays[f"{name}.shift"] = np.broadcast_to(shift, shape[:1]).astype(np.int8)
    return arrays


def make_filter_arrays(width: int, blocks: int, seed: int = 0) -> Arrays:
    """Tensors of a post-filter whose activations and corrections use their ranges, and are cut off here and there."""
    layers = {"first": (width, 12, 5, 5)}
    layers |= {f"block{k}.{half}": (width, width, 5, 5) for k in range(1, blocks + 1) for half in "ab"}
    layers |= {"last": (12, width, 6, 6)}
    arrays: Arrays = {}
    for layer, (rows, inputs, bits, least) in layers.items():
        name = f"{POSTFILTER}.{layer}"
        arrays[f"{name}.weight"] = integers(f"{seed} {name} weight", (rows, 9 * inputs), bits).astype(np.int8)
        arrays[f"{name}.bias"] = integers(f"{seed} {name} bias", (rows,), 13).astype(np.int32)
        arrays[f"{name}.shift"] = (least + (integers(f"{seed} {name} shift", (rows,), 2) & 1)).astype(np.int8)
    return arrays


def make_predictor(screens: NDArray[np.uint8] | None = None, seed: int = 0) -> LearnedPredictor:
    """The tiny model's predictor, which knows `screens`, uint8 [S, h, w]."""
    network = IntegerNetwork(make_arrays(seed=seed), Geometry.from_hyperparameters(TINY))
    return LearnedPredictor(network, np.empty((0, 0, 0), np.uint8) if screens is None else screens)


def dump_model(
    arrays: Mapping[str, NDArray[Any]], hyperparameters: Mapping[str, Any] = TINY, arch: str = PREDICTIVE
) -> bytes:
    """A model file."""
    return dump_arrays(arrays, ModelInfo(arch, hyperparameters))


def make_model(
    palette: NDArray[np.uint8], screens: NDArray[np.uint8] | None = None, seed: int = 0, **more: object
) -> bytes:
    """A model file of the tiny network with colours, uint8 [K, 3], screens, uint8 [S, h, w], and hyperparameters."""
    arrays, hyperparameters = make_arrays(seed=seed) | {"palette": palette}, {**TINY, **more}
    if screens is not None:
        arrays["screens"] = np.frombuffer(compress(screens.tobytes()), np.uint8)
        hyperparameters["screens"] = list(screens.shape)
    return dump_model(arrays, hyperparameters)


def make_filter_model(
    palette: NDArray[np.uint8], width: int, blocks: int, seed: int = 0, hyperparameters: Mapping[str, Any] = TINY
) -> bytes:
    """A model file of noisy footage, with colours and a post-filter of this shape."""
    arrays = make_arrays(hyperparameters, seed) | {"palette": palette} | make_filter_arrays(width, blocks, seed)
    return dump_model(arrays, {**hyperparameters, "noise": 8, POSTFILTER: [width, blocks]})


def parse(data: bytes) -> ModelFile:
    """What a model file of these bytes would be."""
    return ModelFile.parse(data, "tiny", "tiny.pacmodel")


def play(frames: int = 8, height: int = 24, width: int = 30, channels: int = 1) -> NDArray[np.uint8]:
    """A textured square that bounces over a still picture, uint8 [frames, channels, height, width]."""
    y, x = np.mgrid[:height, :width]
    grids = np.repeat(((x * x + 3 * y * y) // 97 % 5 * 40).astype(np.uint8)[None, None], frames, 0).repeat(channels, 1)
    texture = (np.arange(36).reshape(6, 6) ** 2 % 61 + 100).astype(np.uint8)[:height, :width]
    rows, columns = texture.shape
    for t in range(frames):
        top = abs((2 * t + 3) % (2 * max(height - rows, 1)) - max(height - rows, 1))
        left = abs((3 * t + 5) % (2 * max(width - columns, 1)) - max(width - columns, 1))
        for channel in range(channels):
            part = grids[t, channel, top : top + rows, left : left + columns]
            part[...] = (texture + 50 * channel)[: part.shape[0], : part.shape[1]]
    return grids


def restless(frames: int = 3, height: int = 27, width: int = 29) -> Grids:
    """Codes of a noise that no predictor foresees."""
    return (integers("restless", (frames, 1, height, width), 9) & 255).astype(np.uint8)


def exact_product(x: NDArray[Any], weight: NDArray[Any]) -> NDArray[Any]:
    """In 64-bit integers, which have no rounding to get wrong."""
    product: NDArray[Any] = x.astype(np.int64) @ weight.astype(np.int64).T
    return product


class ReferenceNetwork:
    """The network by the words of the format, on another product than the codec's; stands in for `IntegerNetwork`."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], geometry: Geometry, product: Product = exact_product):
        self.geometry, self.embedding = geometry, arrays["embedding"]
        self._arrays, self._product = arrays, product

    def products(self, inputs: NDArray[Any], start: int) -> NDArray[Any]:
        """Of some columns of the first layer."""
        return self._product(inputs, self._arrays["first.weight"][:, start : start + inputs.shape[1]])

    def hidden(self, products: NDArray[Any], order: int) -> NDArray[Any]:
        """The last hidden layer."""
        y = self._shifted(products, "first", self._arrays["first.bias"][order]).clip(0, 255)
        for k in range(self.geometry.layers):
            y = self._layer(y, f"hidden{k + 1}").clip(0, 255)
        return y

    def gate(self, hidden: NDArray[Any]) -> NDArray[Any]:
        """Log-odds."""
        odds: NDArray[Any] = self._layer(hidden, "gate")[:, 0]
        return odds

    def codes(self, hidden: NDArray[Any]) -> NDArray[Any]:
        """Log-weights."""
        return self._layer(hidden, "codes")

    def _layer(self, x: NDArray[Any], name: str) -> NDArray[Any]:
        return self._shifted(self._product(x, self._arrays[f"{name}.weight"]), name, self._arrays[f"{name}.bias"])

    def _shifted(self, products: NDArray[Any], name: str, bias: NDArray[Any]) -> NDArray[Any]:
        whole = products.astype(np.int64)
        assert (whole == products).all()
        shifted: NDArray[Any] = (whole + bias) >> self._arrays[f"{name}.shift"].astype(np.int64)
        return shifted


def spec_of(grids: Grids) -> GridSpec:
    """Of labels."""
    return GridSpec(grids.shape[1], grids.shape[2], grids.shape[3], ordinal=False)


@contextmanager
def network_alone() -> Iterator[None]:
    """Within, encoders use a model's network also where another predictor would do better, as it does by far here.

    Other processes would not know of it, so there are none.
    """
    with mock.patch.dict(learned._OTHERS, clear=True), mock.patch.object(Crew, "__enter__", lambda crew: crew):
        yield


def encode(
    predictor: LearnedPredictor, grids: Grids, sizes: Sequence[int] = (), costs: NDArray[np.float64] | None = None
) -> tuple[bytes, Grids]:
    """The payload by the network, and the grids that a decoder is to give back, of grids pushed `sizes` at a time."""
    with network_alone():
        return hedged(predictor, grids, sizes, costs)


def hedged(
    predictor: Predictor, grids: Grids, sizes: Sequence[int] = (), costs: NDArray[np.float64] | None = None
) -> tuple[bytes, Grids]:
    """The same by whatever is smallest."""
    return push(predictor.encoder(spec_of(grids), costs), grids, sizes)


def push(encoder: GridEncoder, grids: Grids, sizes: Sequence[int] = ()) -> tuple[bytes, Grids]:
    """The payload, and the grids that a decoder is to give back, of grids pushed `sizes` at a time."""
    parts, at = [grids[:0]], 0
    for n in (*sizes, len(grids)):
        batch = grids[at : at + n].copy()
        parts.append(encoder.push(batch))
        batch[...] = 77  # the encoder must not keep the caller's memory
        at += n
    return encoder.finish(), np.concatenate(parts)


def decode(predictor: LearnedPredictor, payload: bytes, spec: GridSpec, count: int, sizes: Sequence[int] = ()) -> Grids:
    """The grids of a payload, pulled `sizes` at a time."""
    return pull(predictor.decoder(spec, payload), count, sizes)


def pull(decoder: GridDecoder, count: int, sizes: Sequence[int] = ()) -> Grids:
    """All `count` grids of a decoder, `sizes` at a time, to its end."""
    parts, left = [], count
    for n in (*sizes, count):
        parts.append(decoder.pull(min(n, left)))
        left -= len(parts[-1])
    decoder.finish()
    return np.concatenate(parts)


def cases() -> dict[str, tuple[NDArray[np.uint8] | None, Grids]]:
    """Screens and grids of which payloads must be the same on every machine, by name."""
    return {
        "still": (None, play(6, 32, 40)),
        "restless": (None, restless()),
        "corrected": (play(1, 32, 40)[:, 0], play(4, 32, 40, channels=4)),
    }


def digest(name: str, product: Product | None = None) -> str:
    """Of one case: sha256, in hex, of the range coder's words and the codes that come back."""
    screens, grids = cases()[name]
    predictor = make_predictor(screens)
    if product is not None:
        network: Any = ReferenceNetwork(make_arrays(), predictor.network.geometry, product)
        predictor = LearnedPredictor(network, predictor.screens)
    payload, _ = encode(predictor, grids)
    decoded = decode(predictor, payload, spec_of(grids), len(grids))
    np.testing.assert_array_equal(decoded, grids)
    # What zstd writes for the first grid may change with its version.
    stored = 5 + int.from_bytes(payload[1:5], "little") if payload[0] == NO_SCREEN else 1
    return hashlib.sha256(payload[stored:] + decoded.tobytes()).hexdigest()


def through_torch(device: str = "cpu") -> Product:
    """A product of float32 matrices in torch."""
    import torch

    def product(x: NDArray[Any], weight: NDArray[Any]) -> NDArray[Any]:
        inputs, matrix = (
            torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(device) for values in (x, weight)
        )
        found: NDArray[Any] = torch.nn.functional.linear(inputs, matrix).cpu().numpy()
        return found

    return product
