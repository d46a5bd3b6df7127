"""Mutations that know the formats: a change behind a checksum is of no use unless the checksum is made to fit."""

import json
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any

import msgpack

from pacodec.container import chunks, packing
from pacodec.container.gop import FIELDS
from pacodec.container.header import PREAMBLE_BYTES, pack_preamble

Mutate = Callable[[bytes, int], bytes]
"""The fuzzer's own mutation of some bytes, to at most so many."""
Pieces = list[tuple[bytes, bytes]]
"""Types and payloads of chunks."""

INTEGERS = (
    0,
    1,
    2,
    3,
    7,
    8,
    16,
    63,
    64,
    127,
    128,
    255,
    256,
    4096,
    16384,
    65535,
    65536,
    1 << 24,
    1 << 31,
    (1 << 63) - 1,
)
DTYPES = ("U8", "I8", "I16", "I32", "I64", "F16", "BF16", "F32", "F64", "BOOL", "F8_E4M3")


def mutate_pac(data: bytes, most: int, seed: int, mutate: Mutate) -> bytes:
    """Change one of a .pac file's chunks, or their order, and make every checksum fit."""
    rng = random.Random(seed)
    if rng.random() < 0.1:
        return mutate(data, most)
    pieces = split(data)
    if not pieces:
        return mutate(data, most)
    at = rng.randrange(len(pieces))
    kind, payload = pieces[at]
    action = rng.random()
    if action < 0.08:
        del pieces[at]
    elif action < 0.16:
        pieces.insert(rng.randrange(len(pieces) + 1), pieces[at])
    elif action < 0.2:
        pieces[at] = (
            rng.choice([b"HEAD", b"REFR", b"modl", b"GOPC", b"audp", b"indx", b"tail", b"head", b"priv", b"CRIT"]),
            payload,
        )
    elif action < 0.5:
        pieces[at] = (kind, _mutate_map(kind, payload, rng, mutate))
    elif kind == b"GOPC" and len(payload) > FIELDS.size and action < 0.8:
        side = FIELDS.size + FIELDS.unpack_from(payload)[-1]
        pieces[at] = (kind, payload[:side] + mutate(payload[side:], len(payload) + 64))
    else:
        pieces[at] = (kind, mutate(payload, len(payload) + 64))
    if rng.random() < 0.3:
        pieces = [piece for piece in pieces if piece[0] not in (b"indx", b"tail")]
    return join(data, pieces)[:most]


def split(data: bytes) -> Pieces:
    """The chunks of a file as far as their lengths lead."""
    pieces: Pieces = []
    offset = PREAMBLE_BYTES
    while offset + chunks.PREFIX_BYTES <= len(data):
        kind, length = chunks.PREFIX.unpack_from(data, offset)
        start = offset + chunks.PREFIX_BYTES
        pieces.append((kind, data[start : start + length]))
        offset = start + length + chunks.CRC.size
    return pieces


def join(data: bytes, pieces: Pieces) -> bytes:
    """A file of these chunks with the preamble of `data`, its checksums, and the tail pointing at the index."""
    parts = [pack_preamble(struct.unpack_from("<I", data.ljust(16, b"\0"), 12)[0])]
    size = len(parts[0])
    index = 0
    for kind, payload in pieces:
        if kind == b"indx":
            index = size
        if kind == b"tail" and len(payload) == 8:
            payload = struct.pack("<Q", index)
        head = chunks.PREFIX.pack(kind, len(payload))
        parts.append(head + struct.pack("<I", zlib.crc32(head)) + payload + struct.pack("<I", zlib.crc32(payload)))
        size += len(parts[-1])
    return b"".join(parts)


def _mutate_map(kind: bytes, payload: bytes, rng: random.Random, mutate: Mutate) -> bytes:
    """Another value in the msgpack map of a chunk that has one."""
    try:
        if kind == b"GOPC":
            fields = list(FIELDS.unpack_from(payload))
            end = FIELDS.size + fields[-1]
            if rng.random() < 0.3:
                fields[rng.randrange(4)] = rng.choice(INTEGERS) & 0xFFFFFFFF
                side = payload[FIELDS.size : end]
            else:
                side = _repack(payload[FIELDS.size : end], rng, mutate)
            fields[-1] = len(side)
            return FIELDS.pack(*fields) + side + payload[end:]
        if kind in (b"HEAD", b"indx"):
            return _repack(payload, rng, mutate)
    except (ValueError, TypeError, struct.error, OverflowError, zlib.error, msgpack.exceptions.UnpackException):
        pass
    return mutate(payload, len(payload) + 64)


def _repack(packed: bytes, rng: random.Random, mutate: Mutate) -> bytes:
    body = packed[1:]
    if packed[:1] == packing.DEFLATED:
        body = zlib.decompressobj(-zlib.MAX_WBITS, zdict=packing.DICTIONARY).decompress(body, 1 << 20)
    values = msgpack.unpackb(body, raw=False)
    change(values, rng, mutate)
    return packing.PLAIN + bytes(msgpack.packb(values))


def change(values: Any, rng: random.Random, mutate: Mutate) -> None:
    """Change one value somewhere in nested maps and lists."""
    while True:
        keys = list(values) if isinstance(values, dict) else list(range(len(values)))
        if not keys:
            return
        key = rng.choice(keys)
        if isinstance(values[key], dict | list) and values[key] and rng.random() < 0.9:
            values = values[key]
            continue
        values[key] = _other(values[key], rng, mutate)
        return


def _other(value: Any, rng: random.Random, mutate: Mutate) -> Any:
    if rng.random() < 0.1:
        return rng.choice([None, True, -1, 0.5, 1e308, "", "x" * 300, b"", [], {}, [[[]]], {"a": {}}])
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice([value + 1, value - 1, value * 2, -value, rng.choice(INTEGERS)])
    if isinstance(value, float):
        return rng.choice([-value, value * 1e6, 0.0, 1e-300])
    if isinstance(value, bytes):
        return bytes(mutate(value, len(value) + 32))
    if isinstance(value, str):
        names = ["palette", "shades", "none", "adaptive", "learned", "naive", "scale", "kmeans", "conv4", "vae"]
        return rng.choice([*names, "vanilla-500", value[:-1], value + "\x1b"])
    return rng.choice(INTEGERS)


def mutate_model(data: bytes, most: int, seed: int, mutate: Mutate) -> bytes:
    """Change the header of a model file so that it stays JSON, or its tensors."""
    rng = random.Random(seed)
    action = rng.random()
    try:
        start = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:start])
        if action < 0.1:
            return mutate(data, most)
        if action < 0.4:
            return data[:start] + mutate(data[start:], max(1, most - start))[: len(data) - start]
        if action < 0.7:
            metadata = header["__metadata__"]
            values = json.loads(metadata["hyperparameters"])
            change(values, rng, lambda piece, _: piece)
            metadata["hyperparameters"] = json.dumps(values)
        elif action < 0.75:
            change(header["__metadata__"], rng, lambda piece, _: piece)
        else:
            tensor = header[rng.choice([name for name in header if name != "__metadata__"])]
            if rng.random() < 0.3:
                tensor["dtype"] = rng.choice(DTYPES)
            else:
                change(tensor["shape"] or tensor, rng, lambda piece, _: piece)
        text = json.dumps(header).encode()
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return mutate(data, most)
    return (len(text).to_bytes(8, "little") + text + data[start:])[:most]
