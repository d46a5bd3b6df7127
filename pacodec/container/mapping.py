"""msgpack maps of plain values, written in one canonical way and read under explicit limits."""

import math
from collections.abc import Mapping
from typing import Any

import msgpack

from pacodec.errors import CorruptFileError, LimitError

MAX_DEPTH = 8
"""Maps and lists inside one another, the outermost map included."""
MAX_ITEMS = 1 << 14
"""Items of one list or map."""
MAX_TOTAL_ITEMS = 1 << 16
"""Items of all lists and maps together: an empty one takes a byte, and in memory eighty times as much."""
INT_MIN, INT_MAX = -(1 << 63), (1 << 64) - 1


def pack_map(values: Mapping[str, Any], name: str) -> bytes:
    """`values` as msgpack with sorted keys, so that equal maps give equal bytes; CorruptFileError for other types."""
    try:
        packed = msgpack.packb(plain(values, name), use_bin_type=True)
    except UnicodeEncodeError:
        raise CorruptFileError(f"{name}: a string is not valid Unicode") from None
    return bytes(packed)


def unpack_map(data: bytes, name: str, most: int) -> dict[str, Any]:
    """The map in `data`, of `most` bytes at the most.

    LimitError when it is larger, CorruptFileError for anything but one map of plain values with unique string keys.
    """
    if len(data) > most:
        raise LimitError(f"{name} has {len(data)} bytes, allowed are {most}")
    room = _Room(MAX_TOTAL_ITEMS)
    try:
        value = msgpack.unpackb(
            data,
            raw=False,
            object_pairs_hook=room.of_map,
            list_hook=room.of_list,
            max_str_len=most,
            max_bin_len=most,
            max_array_len=MAX_ITEMS,
            max_map_len=MAX_ITEMS,
            max_ext_len=0,
            ext_hook=_refuse_extension,
        )
    except (ValueError, TypeError, msgpack.exceptions.UnpackException) as error:
        cause = str(error) or "nested too deeply"
        raise CorruptFileError(f"{name} is not valid msgpack: {cause}") from None
    if not isinstance(value, dict):
        raise CorruptFileError(f"{name} is not a map")
    return plain(value, name)  # type: ignore[no-any-return]


def plain(value: Any, name: str, depth: int = 0) -> Any:
    """A copy of `value` with sorted keys; CorruptFileError unless it is made of plain, finite, bounded values."""
    if value is None or type(value) in (bool, bytes, str):
        return value
    if type(value) is int:
        if INT_MIN <= value <= INT_MAX:
            return value
    elif type(value) is float:
        if math.isfinite(value):
            return value
    elif depth >= MAX_DEPTH:
        raise CorruptFileError(f"{name} is nested more than {MAX_DEPTH} deep")
    elif isinstance(value, list | tuple) and len(value) <= MAX_ITEMS:
        return [plain(item, name, depth + 1) for item in value]
    elif isinstance(value, Mapping) and len(value) <= MAX_ITEMS and all(type(key) is str for key in value):
        return {key: plain(value[key], name, depth + 1) for key in sorted(value)}
    raise CorruptFileError(f"{name} holds a {type(value).__name__} that the format does not allow")


def field(values: Mapping[str, Any], key: str, kind: type, name: str) -> Any:
    """`values[key]`, which must be there and be a `kind` (a bool is no int); CorruptFileError otherwise."""
    value = values.get(key)
    if type(value) is not kind:
        found = "missing" if key not in values else f"a {type(value).__name__}"
        raise CorruptFileError(f"{name}: {key} is {found}, expected is a {kind.__name__}")
    return value


def _refuse_extension(code: int, _: bytes) -> None:
    raise ValueError(f"extension type {code} is not allowed")


class _Room:
    """Counts the items of lists and maps as they are made; ValueError where they are more than `left`."""

    def __init__(self, left: int) -> None:
        self._left = left

    def of_list(self, items: list[Any]) -> list[Any]:
        """The same."""
        self._take(len(items))
        return items

    def of_map(self, pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
        """A dictionary; ValueError also where a key occurs twice."""
        self._take(len(pairs))
        unique = dict(pairs)
        if len(unique) != len(pairs):
            raise ValueError("a key occurs twice")
        return unique

    def _take(self, items: int) -> None:
        # An empty list takes memory as well.
        self._left -= items + 1
        if self._left < 0:
            raise ValueError(f"more than {MAX_TOTAL_ITEMS} items")
