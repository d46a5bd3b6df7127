"""A reader of small intact .pac files of colours, as FORMAT.md describes them: front to back, all at once."""

import ast
import copy
import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from itertools import accumulate
from operator import xor
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import zstandard
from independent.engine import Engine
from numpy.typing import NDArray

MAGIC = b"\x89PAC\r\n\x1a\n"
PACKING = Path(__file__).parents[2] / "pacodec" / "container" / "packing.py"
Bytes = NDArray[np.uint8]


def dictionary() -> bytes:
    """What stands before a deflated map, which FORMAT.md names but does not repeat."""
    for statement in ast.parse(PACKING.read_text()).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "DICTIONARY":
            return bytes(ast.literal_eval(statement.value))
    raise LookupError("DICTIONARY")


def unpacked(data: bytes) -> dict[str, Any]:
    """A stored map."""
    packed = data[1:]
    if data[0]:
        packed = zlib.decompressobj(-15, dictionary()).decompress(packed)
    return dict(msgpack.unpackb(packed))


def unsqueezed(data: bytes) -> bytes:
    """Squeezed bytes."""
    return zstandard.ZstdDecompressor().decompress(data[1:]) if data[0] else data[1:]


def varints(data: bytes) -> list[int]:
    """Unsigned LEB128 integers."""
    values, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            values.append(value)
            value = shift = 0
    return values


def number(data: bytes, at: int) -> int:
    """The u32 at an offset."""
    return int.from_bytes(data[at : at + 4], "little")


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and payload of all chunks after the preamble."""
    at = 20
    while at < len(data):
        size = number(data, at + 4)
        payload = data[at + 12 : at + 12 + size]
        assert zlib.crc32(data[at : at + 8]) == number(data, at + 8)
        assert zlib.crc32(payload) == number(data, at + 12 + size)
        yield data[at : at + 4], payload
        at += 16 + size


def embedded_model(data: bytes) -> bytes:
    """The model file that a file with an intact header carries, repaired where one place of it is damaged."""
    at = 36 + number(data, 24)
    header = unpacked(data[32 : at - 4])
    if reference := header.get("reference"):
        at += 16 + reference["bytes"] + -(-reference["bytes"] // 32)
    size, sha256 = header["model"]["bytes"], header["model"]["sha256"]
    length = -(-size // 32)
    stored, behind = data[at + 12 : at + 12 + size], at + 16 + size
    parity = int.from_bytes(data[behind + 12 : behind + 12 + length], "big")
    blocks = [stored[i * length : (i + 1) * length].ljust(length, b"\0") for i in range(32)]
    values = [int.from_bytes(block, "big") for block in blocks]
    candidates = [stored]
    for number_of in range(32):
        other = reduce(xor, values[:number_of] + values[number_of + 1 :], parity).to_bytes(length, "big")
        candidates.append(b"".join([*blocks[:number_of], other, *blocks[number_of + 1 :]])[:size])
    return next(candidate for candidate in candidates if hashlib.sha256(candidate).digest() == sha256)


def colours(planar: bytes) -> Bytes:
    """Colours [K, 3] that are stored as all R, all G, all B."""
    return np.frombuffer(planar, np.uint8).reshape(3, -1).T


def with_palette(parameters: dict[str, Any], grids: Bytes) -> Bytes:
    """The pictures [n, height, width, 3] of the transform `palette`."""
    table = np.concatenate([colours(parameters["palette"]), colours(parameters.get("added", b""))]).astype(np.int64)
    step, pictures = parameters["correction_step"], table[grids[:, 0]]
    if step:
        corrections = np.moveaxis(grids[:, 1:], 1, -1).astype(np.int64)
        if step == 1:
            return ((pictures + corrections) % 256).astype(np.uint8)
        pictures = np.clip(pictures + step * np.where(corrections < 128, corrections, corrections - 256), 0, 255)
    return pictures.astype(np.uint8)


def with_shades(parameters: dict[str, Any], grids: Bytes) -> Bytes:
    """The pictures [n, height, width, 3] of the transform `shades`."""
    table = np.zeros((256, 256, 3), np.uint8)
    palette = colours(parameters["palette"])
    table[:, 0] = [(36 * (i >> 5), 36 * (i >> 2 & 7), 85 * (i & 3)) for i in range(256)]
    table[: len(palette), 0] = palette
    for key in ("shades", "added"):
        if key not in parameters:
            continue
        listed = np.frombuffer(unsqueezed(parameters[key]), np.uint8)
        steps, *differences = listed[256:].reshape(4, -1)
        at = 0
        for index, count in enumerate(listed[:256].tolist()):
            shade = 0
            for _ in range(count):
                shade += int(steps[at])
                table[index, shade] = table[index, 0] + np.array([column[at] for column in differences])
                at += 1
    return table[grids[:, 0], grids[:, 1]]


PICTURES = {"palette": with_palette, "shades": with_shades}


@dataclass(frozen=True)
class Video:
    """What a file holds: pictures [n, height, width, 3], and when each is shown, in seconds."""

    pictures: Bytes
    times: list[Fraction]


class PacFile:
    """A file without a model whose transform is one of `PICTURES`."""

    def __init__(self, data: bytes) -> None:
        assert data[:8] == MAGIC
        assert data[9] == 2
        assert number(data, 16) == zlib.crc32(data[:16])
        self._chunks = list(chunks(data))
        kind, payload = self._chunks[0]
        assert kind == b"HEAD"
        self.header = unpacked(payload)
        assert self.header.get("model") is None
        grid = self.header["grid"]
        self._shape = (grid["channels"], grid["height"], grid["width"])
        self._engine = Engine(grid["ordinal"], *self._shape)
        self._reference = list(self._segments()) if self.header.get("reference") else []

    def _segments(self) -> Iterator[Bytes]:
        """The grids of each segment of the reference, while the engine learns from them."""
        reference = self.header["reference"]
        kind, payload = self._chunks[1]
        assert kind == b"REFR"
        stored, parity = payload[: reference["bytes"]], payload[reference["bytes"] :]
        assert zlib.crc32(stored) == reference["crc"]
        blocks = np.frombuffer(stored.ljust(32 * len(parity), b"\0"), np.uint8).reshape(32, -1)
        assert np.bitwise_xor.reduce(blocks).tobytes() == parity
        at = 0
        for frames, size in reference["segments"]:
            yield self._engine.segment(stored[at : at + size], frames)
            at += size

    def video(self) -> Video:
        """All GOPs, one after the other."""
        pictures, ticks, unit = list[Bytes](), list[int](), Fraction(*self.header["video"]["time_base"])
        for kind, payload in self._chunks:
            if kind == b"GOPC":
                assert number(payload, 0) == len(ticks)
                pictures.append(self._gop(payload, ticks))
        return Video(np.concatenate(pictures), [tick * unit for tick in ticks])

    def _gop(self, payload: bytes, ticks: list[int]) -> Bytes:
        """The pictures of a GOP, whose timestamps are put behind `ticks`."""
        frames, coded, crc, side_length = (number(payload, at) for at in (4, 8, 12, 16))
        side, rest = unpacked(payload[20 : 20 + side_length]), payload[20 + side_length :]
        steps = [z >> 1 ^ -(z & 1) for z in varints(unsqueezed(side["pts"]))]
        steps += [0] * (frames + 1 - len(steps))
        ticks += list(accumulate([steps[0], *accumulate(steps[1:])]))[:frames]
        grids = self._codes(side, coded, rest)
        assert zlib.crc32(grids.tobytes()) == crc
        flags = np.frombuffer(unsqueezed(side["repeats"]) if "repeats" in side else bytes(frames // 8 + 1), np.uint8)
        own = 1 - np.unpackbits(flags, bitorder="little")[:frames].astype(np.int64)
        assert own.sum() == coded
        transform = self.header["transform"]
        parameters = transform["params"] | side.get("transform", {})
        return PICTURES[transform["name"]](parameters, grids)[np.cumsum(own) - 1]

    def _codes(self, side: dict[str, Any], coded: int, payload: bytes) -> Bytes:
        """The grids of a GOP, uint8 [coded, C, h, w]."""
        coder = side.get("coder", "engine")
        if coder == "engine":
            return copy.deepcopy(self._engine).segment(payload, coded)
        if coder == "reference":
            segment: int = side["coder_params"]["segment"]
            return self._reference[segment]
        assert coder == "none"
        stream = zstandard.ZstdDecompressor().decompressobj()
        differences = np.frombuffer(stream.decompress(payload), np.uint8).reshape(coded, *self._shape)
        return np.cumsum(differences, 0, np.uint8)
