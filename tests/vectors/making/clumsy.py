"""Plain msgpack in the longest forms there are."""

import struct
from typing import Any

import msgpack


def clumsily(packed: bytes) -> bytes:
    """The same map with its keys backwards, and every length and integer in the longest form."""
    return _long(msgpack.unpackb(packed))


def _long(value: Any) -> bytes:
    if isinstance(value, dict):
        items = sorted(value.items(), reverse=True)
        return struct.pack(">BI", 0xDF, len(items)) + b"".join(_long(key) + _long(item) for key, item in items)
    if isinstance(value, list):
        return struct.pack(">BI", 0xDD, len(value)) + b"".join(map(_long, value))
    if isinstance(value, str):
        return struct.pack(">BI", 0xDB, len(value.encode())) + value.encode()
    if isinstance(value, bytes):
        return struct.pack(">BI", 0xC6, len(value)) + value
    if type(value) is int:
        return struct.pack(">Bq", 0xD3, value)
    packed: bytes = msgpack.packb(value)
    return packed
