"""Section "Predictors": payloads of groups to codes."""

import struct
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from independent.learned import Learned
from independent.model_file import ModelFile, Network
from independent.nominal import Grid, Nominal
from independent.ordinal import Ordinal
from independent.plain import unzstd
from independent.range_coder import RangeCoder
from independent.refusal import Unsupported, bounded, expect

NO_SCREEN, ADAPTIVE, NONE = 255, 253, 254
"""First bytes of a payload of `learned` that are no number of a screen."""
MAX_VIEW = 1 << 30


class _Grids(Protocol):
    def decode(self, coder: RangeCoder) -> Grid: ...


def decode_codes(name: str, model: ModelFile | None, spec: Mapping[str, Any], payload: bytes, count: int) -> Grid:
    """Codes [count, channels, height, width] of the coded frames of a group by the predictor of that name."""
    shape = (spec["channels"], spec["height"], spec["width"])
    if name == "learned":
        if model is None or model.arch != "predictive":
            raise Unsupported("the predictor learned needs a predictive model")
        return _learned(Network(model), shape, payload, count, ordinal=spec["ordinal"])
    return _plain(name, shape, payload, count, ordinal=spec["ordinal"])


def _plain(name: str, shape: tuple[int, int, int], payload: bytes, count: int, *, ordinal: bool) -> Grid:
    if name == "none":
        size = int(np.prod(shape))
        differences = np.frombuffer(unzstd(payload, "codes", size * count), np.uint8).reshape(count, *shape)
        return np.cumsum(differences, axis=0, dtype=np.uint8)
    if name == "adaptive":
        first, words = _first(payload, shape)
        model: _Grids = Ordinal(first) if ordinal else Nominal(first)
        return _run(model, RangeCoder(words), count - 1, first)
    raise Unsupported(f"the predictor {name} is unknown")


def _learned(network: Network, shape: tuple[int, int, int], payload: bytes, count: int, *, ordinal: bool) -> Grid:
    expect(len(payload) > 0, "the payload is empty")
    first_byte = payload[0]
    if first_byte in (NONE, ADAPTIVE):
        return _plain("none" if first_byte == NONE else "adaptive", shape, payload[1:], count, ordinal=ordinal)
    border = 2 * max(network.radii)
    places = len(network.radii) * (shape[1] + border) * (shape[2] + border)
    bounded("what the network sees", places * network.embedding.shape[1], MAX_VIEW)
    if first_byte == NO_SCREEN:
        first, words = _first(payload[1:], shape)
        return _run(Learned(network, first), RangeCoder(words), count - 1, first)
    expect(first_byte < len(network.screens), "the model has no such screen")
    expect(network.screens.shape[1:] == shape[1:], "the model's screens are of another size")
    start = np.zeros(shape, np.uint8)
    start[0] = network.screens[first_byte]
    return _run(Learned(network, start), RangeCoder(payload[1:]), count)


def _first(payload: bytes, shape: tuple[int, int, int]) -> tuple[Grid, bytes]:
    """The first grid, and what follows it."""
    expect(len(payload) >= 4, "the payload is shorter than its first field")
    (size,) = struct.unpack_from("<I", payload)
    expect(size <= len(payload) - 4, "the first grid is longer than the payload")
    content = unzstd(payload[4 : 4 + size], "the first grid", int(np.prod(shape)))
    return np.frombuffer(content, np.uint8).reshape(shape), payload[4 + size :]


def _run(model: _Grids, coder: RangeCoder, count: int, *before: Grid) -> Grid:
    grids = [*before, *(model.decode(coder) for _ in range(count))]
    coder.finish()
    return np.stack(grids)
