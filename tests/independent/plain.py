"""Section "Building blocks": plain msgpack maps, varints, zigzag, squeezed bytes, and zstd frames."""

import math
import struct
from collections.abc import Mapping
from typing import Any, TypeVar

import zstandard
from independent.refusal import Corrupt, OverLimit, bounded, expect

T = TypeVar("T")
MAX_DEPTH, MAX_ITEMS, MAX_TOTAL = 8, 16384, 65536
MAX_WINDOW = 8 << 20
CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
INTEGERS = {0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q", 0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"}
REALS = {0xCA: ">f", 0xCB: ">d"}
BYTES = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I"}
"""By first byte: how many follow; likewise below."""
TEXTS = {0xD9: ">B", 0xDA: ">H", 0xDB: ">I"}
CONTAINERS = {0xDC: ">H", 0xDD: ">I", 0xDE: ">H", 0xDF: ">I"}
"""Arrays, then maps."""


def plain_map(data: bytes, name: str) -> dict[str, Any]:
    """The msgpack map that is all of `data`."""
    parser = _Parser(data, name)
    values = parser.value(1)
    expect(isinstance(values, dict), f"{name} is no map")
    expect(parser.at == len(data), f"{name} is followed by something else")
    found: dict[str, Any] = values
    return found


def field(values: Mapping[str, Any], key: str, kind: type[T], name: str) -> T:
    """The value of a key, which must be there and of that type; a bool is not an int."""
    expect(key in values, f"{name} has no {key}")
    value = values[key]
    expect(type(value) is kind, f"{name}: {key} is of the wrong type")
    found: T = value
    return found


class _Parser:
    """Reads msgpack by its specification, one value after another."""

    def __init__(self, data: bytes, name: str) -> None:
        self.data, self.name, self.at = data, name, 0
        self.total = 0

    def value(self, depth: int) -> Any:
        """The value at the position; a container in it would be `depth` deep."""
        first = self.take(1)[0]
        if first < 0x80:
            return first
        if first < 0xA0:
            return self.container(first & 15, depth, is_map=first < 0x90)
        if first < 0xC0:
            return self.text(first & 31)
        if first >= 0xE0:
            return first - 256
        if first in CONSTANTS:
            return CONSTANTS[first]
        if first in INTEGERS:
            return self.number(INTEGERS[first])
        if first in REALS:
            return self.real(REALS[first])
        if first in BYTES:
            return self.take(self.number(BYTES[first]))
        if first in TEXTS:
            return self.text(self.number(TEXTS[first]))
        expect(first in CONTAINERS, f"{self.name} holds a value that is not plain")
        return self.container(self.number(CONTAINERS[first]), depth, is_map=first >= 0xDE)

    def take(self, count: int) -> bytes:
        """The next bytes."""
        expect(count <= len(self.data) - self.at, f"{self.name} ends within a value")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, layout: str) -> int:
        """An integer."""
        found: int = struct.unpack(layout, self.take(struct.calcsize(layout)))[0]
        return found

    def real(self, layout: str) -> float:
        """A finite float."""
        found: float = struct.unpack(layout, self.take(struct.calcsize(layout)))[0]
        expect(math.isfinite(found), f"{self.name} holds a float that is not finite")
        return found

    def text(self, count: int) -> str:
        """A str."""
        try:
            return self.take(count).decode()
        except UnicodeDecodeError:
            raise Corrupt(f"{self.name} holds a str that is not UTF-8") from None

    def container(self, count: int, depth: int, *, is_map: bool) -> Any:
        """A map with unique keys of str, or an array."""
        expect(depth <= MAX_DEPTH, f"{self.name} is nested too deeply")
        expect(count <= MAX_ITEMS, f"{self.name} has too many items in one map or array")
        self.total += 1 + count
        expect(self.total <= MAX_TOTAL, f"{self.name} has too many items in all")
        if not is_map:
            return [self.value(depth + 1) for _ in range(count)]
        values = {}
        for _ in range(count):
            key = self.value(depth + 1)
            expect(isinstance(key, str) and key not in values, f"{self.name} has a key twice, or one that is no str")
            values[key] = self.value(depth + 1)
        return values


def varints(data: bytes) -> list[int]:
    """All varints of the data."""
    values, value, shift = [], 0, 0
    for byte in data:
        expect(shift < 63, "a varint has more than 9 bytes")
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            values.append(value)
            value = shift = 0
    expect(shift == 0, "a varint is cut short")
    return values


def unzigzag(z: int) -> int:
    """The signed integer of an unsigned one."""
    return (z >> 1) ^ -(z & 1)


def unsqueeze(data: bytes, name: str, most: int) -> bytes:
    """Squeezed bytes, of which there may be `most`."""
    expect(data[:1] in (b"\0", b"\1"), f"{name} are neither raw nor zstd")
    if data[0] == 0:
        bounded(name, len(data) - 1, most)
        return data[1:]
    frame = data[1:]
    expect(frame[:4] == b"\x28\xb5\x2f\xfd", f"{name} are no zstd frame")
    size = _parameters(frame, name).content_size
    expect(0 < size < zstandard.CONTENTSIZE_UNKNOWN, f"{name} do not declare their size")
    bounded(name, size, most)
    return unzstd(frame, name, size, max(MAX_WINDOW, size))


def unzstd(frame: bytes, name: str, size: int, window: int = MAX_WINDOW) -> bytes:
    """The content of one zstd frame without dictionary that nothing follows, of exactly `size` bytes."""
    parameters = _parameters(frame, name)
    expect(parameters.dict_id == 0, f"{name} need a dictionary")
    if parameters.window_size > window:
        raise OverLimit(f"{name} ask for a zstd window of {parameters.window_size} bytes")
    stream = zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj(write_size=1 << 16)
    content, at = b"", 0
    try:
        # A little input at a time, so that a frame cannot give more than a block's worth beyond what is wanted.
        while not stream.eof and at < len(frame) and len(content) <= size:
            content += stream.decompress(frame[at : at + 16])
            at += 16
    except zstandard.ZstdError as error:
        raise Corrupt(f"{name} do not decompress: {error}") from None
    expect(stream.eof and len(content) == size, f"{name} hold {len(content)} bytes or more instead of {size}")
    expect(not stream.unused_data and at >= len(frame), f"{name} are followed by something else")
    return content


def _parameters(frame: bytes, name: str) -> zstandard.FrameParameters:
    try:
        return zstandard.get_frame_parameters(frame)
    except zstandard.ZstdError as error:
        raise Corrupt(f"{name} do not decompress: {error}") from None
