"""Files and models that tests put together code by code, and a post-filter that is computed plainly."""

import io
import struct
import zlib
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray

from pacodec.common.media import GridSpec, VideoFormat
from pacodec.container import Component, Gop, Header, ModelRef, Writer
from pacodec.engine import DifferencesEncoder, SegmentEncoder, State
from pacodec.models.files import ModelFile, ModelInfo, dump_arrays
from pacodec.models.recording import RECORDING
from pacodec.transforms.postfilter import NEIGHBOURHOODS, Entries, PostFilter, with_border

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


def make_filter(codes: NDArray[np.uint8], seed: int = 0) -> PostFilter:
    """A post-filter with an entry for about half of the neighbourhoods of each kind in codes, uint8 [n, h, w]."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(codes.shape[1:]).reshape(2, -1)
    levels = []
    for neighbourhood in NEIGHBOURHOODS:
        keys = np.unique(np.concatenate([neighbourhood.keys(with_border(grid), y, x) for grid in codes]))
        keys = keys[rng.random(len(keys)) < 0.5]
        levels.append(Entries(keys, rng.integers(-128, 128, (len(keys), 3), np.int8)))
    return PostFilter(levels, (codes.shape[1], codes.shape[2]))


def filter_model(palette: NDArray[np.uint8], postfilter: PostFilter, noise: int = 8) -> bytes:
    """A model file with colours, uint8 [K, 3], and a post-filter."""
    table = np.frombuffer(postfilter.to_bytes(), np.uint8)
    return recording_model(palette, arrays={"postfilter": table}, noise=noise, grid=[1, *postfilter.size])


def plainly_filtered(
    table: bytes, size: tuple[int, int], codes: NDArray[np.uint8], picture: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """A picture [h, w, 3] of codes [h, w] corrected by a model's tensor, pixel after pixel, as FORMAT.md says it."""
    content = zstandard.ZstdDecompressor().decompressobj().decompress(table)
    kinds = [(0, False), (0, True), (1, False), (2, False), (5, False), (2, True)]
    tables: list[dict[int, tuple[int, ...]]] = []
    for _ in kinds:
        (count,), content = struct.unpack_from("<I", content), content[4:]
        columns, content = [content[k * count : (k + 1) * count] for k in range(6)], content[6 * count :]
        key, found = -1, {}
        for low, middle, high, *levels in zip(*columns, strict=True):
            key += 1 + low + (middle << 8) + (high << 16)
            found[key] = tuple(level - 256 if level > 127 else level for level in levels)
        tables.append(found)
    assert not content
    height, width = codes.shape
    corrected = picture.astype(int)
    for y in range(height):
        for x in range(width):
            for (reach, placed), found in reversed(list(zip(kinds, tables, strict=True))):
                if placed and size != (height, width):
                    continue
                s = (y * width + x + 1) * _MULTIPLIER % 2**64 if placed else 0
                for dy in range(-2, 3):
                    for dx in range(-2, 3):
                        if dy * dy + dx * dx <= reach:
                            inside = 0 <= y + dy < height and 0 <= x + dx < width
                            s = (s + (int(codes[y + dy, x + dx]) if inside else 0) + 1) * _MULTIPLIER % 2**64
                            s ^= s >> 29
                if s >> 42 in found:
                    corrected[y, x] += found[s >> 42]
                    break
    return corrected.clip(0, 255).astype(np.uint8)


_MULTIPLIER = 0x9E3779B97F4A7C15
