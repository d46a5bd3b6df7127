"""Files and models that tests put together code by code, and a post-filter that is computed plainly."""

import io
import zlib
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacodec.common.grids import GridSpec
from pacodec.common.media import VideoFormat
from pacodec.container import Component, Gop, Header, ModelRef, Writer
from pacodec.engine import DifferencesEncoder, SegmentEncoder, State
from pacodec.models.files import ModelFile, ModelInfo, dump_arrays
from pacodec.models.recording import RECORDING

FORMAT = VideoFormat(32, 24, Fraction(1, 1000), Fraction(25))
TICKS = 40
"""Of a frame."""
GREYS = bytes(value for grey in range(0, 256, 2) for value in (grey, grey, 255 - grey))
"""A palette of 128 colours."""

Arrays = dict[str, NDArray[Any]]


def spec_of(grids: NDArray[np.uint8], ordinal: bool = False) -> GridSpec:
    """The shape of grids uint8 [n, C, h, w]."""
    return GridSpec(*grids.shape[1:], ordinal)


def segment(grids: NDArray[np.uint8], ordinal: bool = False) -> bytes:
    """Grids as the engine codes them from nothing."""
    encoder = SegmentEncoder(State.fresh(spec_of(grids, ordinal)))
    encoder.push(grids)
    return encoder.finish()


def differences(grids: NDArray[np.uint8], ordinal: bool = False) -> bytes:
    """Grids as the coder `none` has them."""
    encoder = DifferencesEncoder(spec_of(grids, ordinal))
    encoder.push(grids)
    return encoder.finish()


def authored(
    gops: Sequence[NDArray[np.uint8]],
    *,
    coder: str = "engine",
    transform: str = "palette",
    parameters: Mapping[str, Any] | None = None,
    quantizer: str = "palette",
    quantizer_parameters: Mapping[str, Any] | None = None,
    model: ModelFile | None = None,
    ordinal: bool = False,
) -> bytes:
    """A file of GOPs, each uint8 [n, C, h, w]."""
    _, height, width = gops[0].shape[1:]
    values = {"palette": GREYS, "correction_step": 0} if parameters is None else parameters
    header = Header(
        writer="pacodec's tests",
        video=VideoFormat(width, height, FORMAT.time_base, FORMAT.frame_rate),
        grid=spec_of(gops[0], ordinal),
        transform=Component(transform, values),
        quantizer=Component(quantizer, quantizer_parameters or {}),
        model=ModelRef(model.name, model.sha256) if model else None,
    )
    file = io.BytesIO()
    writer = Writer(file, header, model.data if model else None)
    done = 0
    for codes in gops:
        payload = segment(codes, ordinal) if coder == "engine" else differences(codes, ordinal)
        pts = TICKS * np.arange(done, done + len(codes) + 1)
        repeats = np.zeros(len(codes), np.bool_)
        crc = zlib.crc32(codes.tobytes())
        writer.add_gop(Gop(done, pts.astype(np.int64), repeats, crc, payload, coder=Component(coder)))
        done += len(codes)
    writer.close()
    return file.getvalue()


def recording_model(
    palette: NDArray[np.uint8],
    recorded: Sequence[NDArray[np.uint8]] = (),
    arrays: Mapping[str, NDArray[Any]] | None = None,
    **hyperparameters: object,
) -> bytes:
    """A model file with colours, uint8 [K, 3], and a reference of `recorded` segments, each uint8 [n, 1, h, w]."""
    tensors: Arrays = {"palette": palette, **(arrays or {})}
    shape: dict[str, object] = {"noise": 0}
    if recorded:
        state = State.fresh(spec_of(recorded[0]))
        parts = []
        for grids in recorded:
            encoder = SegmentEncoder(state)
            encoder.push(grids)
            parts.append(encoder.finish())
        tensors["reference"] = np.frombuffer(b"".join(parts), np.uint8)
        shape["grid"] = list(recorded[0].shape[1:])
        shape["segments"] = [
            {"frames": len(grids), "bytes": len(part)} for grids, part in zip(recorded, parts, strict=True)
        ]
    return dump_arrays(tensors, ModelInfo(RECORDING, {**shape, **hyperparameters}))


def _integers(key: str, shape: tuple[int, ...], bits: int) -> NDArray[np.int64]:
    """Numbers of magnitude below 2^bits that depend on a text alone."""
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    return rng.integers(1 - (1 << bits), 1 << bits, shape)


def make_filter_arrays(width: int, blocks: int, seed: int = 0) -> Arrays:
    """Tensors of a post-filter whose activations and corrections use their ranges, and are cut off here and there."""
    layers = {"first": (width, 12, 5, 5)}
    layers |= {f"block{k}.{half}": (width, width, 5, 5) for k in range(1, blocks + 1) for half in "ab"}
    layers |= {"last": (12, width, 6, 6)}
    arrays: Arrays = {}
    for layer, (rows, inputs, bits, least) in layers.items():
        name = f"postfilter.{layer}"
        arrays[f"{name}.weight"] = _integers(f"{seed} {name} weight", (rows, 9 * inputs), bits).astype(np.int8)
        arrays[f"{name}.bias"] = _integers(f"{seed} {name} bias", (rows,), 13).astype(np.int32)
        arrays[f"{name}.shift"] = (least + (_integers(f"{seed} {name} shift", (rows,), 2) & 1)).astype(np.int8)
    return arrays


def plainly_filtered(arrays: Arrays, blocks: int, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture [height, width, 3] through a post-filter, all of it, layer by layer in 64-bit integers."""
    height, width = picture.shape[:2]
    p = np.pad(picture.astype(np.int64), ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    places = [(slice(i, None, 2), slice(j, None, 2), k) for k in range(3) for i in range(2) for j in range(2)]
    z = _layer(arrays, "first", np.stack([p[place] - 128 for place in places], -1)).clip(0, 255)
    for number in range(1, blocks + 1):
        a = _layer(arrays, f"block{number}.a", z).clip(0, 255)
        z = (_layer(arrays, f"block{number}.b", a) + z).clip(0, 255)
    d = _layer(arrays, "last", z).clip(-255, 255)
    for number, place in enumerate(places):
        p[place] = (p[place] + d[:, :, number]).clip(0, 255)
    return p[:height, :width].astype(np.uint8)


def _layer(arrays: Arrays, name: str, x: NDArray[np.int64]) -> NDArray[np.int64]:
    weight, bias, shift = (arrays[f"postfilter.{name}.{part}"].astype(np.int64) for part in ("weight", "bias", "shift"))
    rows, columns, n = x.shape
    wide = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    y = np.zeros((rows, columns, len(weight)), np.int64)
    for u in range(3):
        for v in range(3):
            at = (3 * u + v) * n
            y += wide[u : u + rows, v : v + columns] @ weight[:, at : at + n].T
    return (y + bias) >> shift
