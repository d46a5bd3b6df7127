"""Files taken apart into chunks and put together again, right or wrong."""

import json
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgpack
from independent import chunks
from independent.groups import read_group
from numpy.typing import NDArray

from pacodec.container.index import GopEntry, Index

Part = tuple[str, bytes]
"""Type and payload of a chunk."""
Change = Callable[[bytes], bytes]
GOP_FIELDS = struct.Struct("<QIIII")


def chunk(kind: str, payload: bytes) -> bytes:
    """The bytes of a chunk."""
    return announcement(kind, len(payload)) + payload + struct.pack("<I", zlib.crc32(payload))


def announcement(kind: str, length: int) -> bytes:
    """The start of a chunk with a payload of so many bytes."""
    head = struct.pack("<4sQ", kind.encode(), length)
    return head + struct.pack("<I", zlib.crc32(head))


def preamble(frames: int = 0, *, version: int = 1, min_reader: int = 1, flags: int = 0, reserved: int = 0) -> bytes:
    """The first 32 bytes."""
    fields = struct.pack("<8sHHIQI", b"\x89PAC\r\n\x1a\n", version, min_reader, flags, frames, reserved)
    return fields + struct.pack("<I", zlib.crc32(fields))


def split(data: bytes) -> list[Part]:
    """The chunks of a good file."""
    damage: list[str] = []
    parts = [(found.kind, found.payload) for found in chunks.scan(data, 32, damage)]
    assert not damage
    return parts


def join(parts: Sequence[Part], first: bytes | None = None) -> bytes:
    """A file of these chunks; a tail points at the index, if there is one."""
    data, index = preamble() if first is None else first, 0
    for kind, payload in parts:
        index = len(data) if kind == "indx" else index
        data += chunk(kind, struct.pack("<Q", index) if kind == "tail" else payload)
    return data


def indexless(parts: Sequence[Part]) -> list[Part]:
    """The chunks without index and tail, as a file has them that is still being written."""
    return [part for part in parts if part[0] not in ("indx", "tail")]


def indexed(parts: Sequence[Part], first: bytes | None = None, like: Sequence[Part] | None = None) -> bytes:
    """A file of these chunks with an index of its own. `like`: chunks whose GOPs say what the index says of these."""
    kept = indexless(parts)
    groups = iter([read_group(payload) for kind, payload in like or kept if kind == "GOPC"])
    entries: list[GopEntry] = []
    copy: int | None = None
    at = 32
    sizes = {"GOPC": 0, "audp": 0}
    for kind, payload in kept:
        if kind == "GOPC":
            group = next(groups)
            times = group.times[0], group.times[-1]
            entries.append(GopEntry(at, len(payload), group.first_frame, group.frames, *times))
            side = GOP_FIELDS.unpack_from(payload)[4] if len(payload) >= GOP_FIELDS.size else 0
            sizes[kind] += max(0, len(payload) - GOP_FIELDS.size - side)
        elif kind == "audp":
            sizes[kind] += len(payload) + 20
        elif kind == "head":
            copy = at
        at += len(payload) + 20
    index = Index(entries, sizes["GOPC"], sizes["audp"], None, copy)
    return join([*kept, ("indx", index.to_payload(len(kept[0][1]) + 52)), ("tail", b"")], first)


def changed(data: bytes, kind: str, change: Change, which: int = 0) -> bytes:
    """The file with another payload in a chunk, and CRCs and an index that are right."""
    old = split(data)
    numbers = [number for number, part in enumerate(old) if part[0] == kind]
    new = old.copy()
    new[numbers[which]] = (kind, change(old[numbers[which]][1]))
    return join(new, data[:32]) if kind in ("indx", "tail") else indexed(new, data[:32], old)


def inserted(data: bytes, part: Part, before: str, which: int = 0) -> bytes:
    """The file with one more chunk, and an index that is right."""
    parts = split(data)
    numbers = [number for number, (kind, _) in enumerate(parts) if kind == before]
    at = numbers[which]
    return indexed([*parts[:at], part, *parts[at:]], data[:32])


def edit_map(packed: bytes, **changes: Any) -> bytes:
    """A msgpack map with other values; those that are maps are merged, None takes a key out."""
    return pack(merged(msgpack.unpackb(packed), changes))


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The values with the changes put over them, at any depth."""
    result = dict(values)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


def pack(values: Mapping[str, Any]) -> bytes:
    """A msgpack map."""
    packed: bytes = msgpack.packb(dict(values))
    return packed


def header(**changes: Any) -> Callable[[bytes], bytes]:
    """A change of a file: other values in its header."""
    return lambda data: changed(data, "HEAD", lambda payload: edit_map(payload, **changes))


def side(which: int = 0, **changes: Any) -> Callable[[bytes], bytes]:
    """A change of a file: other values in the side map of a GOP."""
    return lambda data: changed(data, "GOPC", lambda payload: with_side(payload, **changes), which)


def with_side(payload: bytes, **changes: Any) -> bytes:
    """A GOP with other values in its side map."""
    *fields, length = GOP_FIELDS.unpack_from(payload)
    at = GOP_FIELDS.size + length
    packed = edit_map(payload[GOP_FIELDS.size : at], **changes)
    return GOP_FIELDS.pack(*fields, len(packed)) + packed + payload[at:]


def with_fields(payload: bytes, **changes: int) -> bytes:
    """A GOP with other fixed fields: first_frame, frames, coded, crc, side_length."""
    names = ("first_frame", "frames", "coded", "crc", "side_length")
    fields = dict(zip(names, GOP_FIELDS.unpack_from(payload), strict=True)) | changes
    return GOP_FIELDS.pack(*fields.values()) + payload[GOP_FIELDS.size :]


def with_codes(payload: bytes, change: Change) -> bytes:
    """A GOP with another payload of its predictor."""
    at = GOP_FIELDS.size + GOP_FIELDS.unpack_from(payload)[4]
    return payload[:at] + change(payload[at:])


def fields(which: int = 0, **changes: int) -> Callable[[bytes], bytes]:
    """A change of a file: other fixed fields of a GOP."""
    return lambda data: changed(data, "GOPC", lambda payload: with_fields(payload, **changes), which)


def codes(change: Change, which: int = 0) -> Callable[[bytes], bytes]:
    """A change of a file: another payload of the predictor in a GOP."""
    return lambda data: changed(data, "GOPC", lambda payload: with_codes(payload, change), which)


def side_bytes(packed: bytes) -> Change:
    """A change of a file: other bytes in place of the first GOP's side map."""

    def change(payload: bytes) -> bytes:
        *fields, length = GOP_FIELDS.unpack_from(payload)
        return GOP_FIELDS.pack(*fields, len(packed)) + packed + payload[GOP_FIELDS.size + length :]

    return lambda data: changed(data, "GOPC", change)


def wide_window(content: bytes) -> bytes:
    """A zstd frame of one raw block that asks for a window of 2^27 bytes and declares its size."""
    size_in_two_bytes, window = 0b0100_0000, 17 << 3
    assert len(content) >= 1
    padded = content + bytes(256 - len(content) if len(content) < 256 else 0)
    block = (len(padded) << 3 | 1).to_bytes(3, "little")
    return (
        b"\x28\xb5\x2f\xfd"
        + bytes([size_in_two_bytes, window])
        + (len(padded) - 256).to_bytes(2, "little")
        + block
        + padded
    )


def safetensors(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """A model file."""
    kinds = {"uint8": "U8", "int8": "I8", "int32": "I32", "float32": "F32"}
    description: dict[str, Any] = {"__metadata__": dict(metadata)}
    body = b""
    for name, values in tensors.items():
        data = values.tobytes()
        offsets = [len(body), len(body) + len(data)]
        description[name] = {"dtype": kinds[values.dtype.name], "shape": values.shape, "data_offsets": offsets}
        body += data
    text = json.dumps(description).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + body
