"""How values become bytes: msgpack maps in one canonical way, read under explicit limits, and columns of integers.

A map is stored as one byte that says how, 0 or 1, then its msgpack as it is, or in raw deflate (RFC 1951) with
`DICTIONARY` as what came before: files of a few hundred bytes would otherwise be mostly names of fields.
"""

import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from pacodec.errors import CorruptFileError, LimitError

DICTIONARY = (
    b"\xa9bit_rate\xa5codec\xa9extradata\xa8language\xa6layout\xadsample_format\xabsample_rate\xa5conv4\xa5scale"
    b"\xa3low\xa4high\xa9centroids\xa8filtered\xa9reference\x83\xa5bytes\xcd\x10\x00\xa3crc\xce\xa8segments\x91\x92"
    b"\xa4head\xa7repeats\xc4\x09\x00\xa7segment\xa9reference\xa4none\xaccoder_params\xa9transform\xa5added\xc4"
    b"\x85\xabaudio_bytes\x00\xabcodes_bytes\xcd\x10\x00\xa6coders\x91\xa6engine\xa7entries\xc4\x0a\x00\xa4gops\x01"
    b"\xacsource_bytes\xce\x00\x00\x81\xa3pts\xc4\x04\x00\x00\x02\x01\xa5shades\xc4"
    b"\x88\xa4grid\x84\xa8channels\x01\xa6height\xcc\xc8\xa7ordinal\xc2\xa5width\xcc\xa0\xa5model\x82\xa4name"
    b"\xa6sha256\xc4\x20\xa5model\xc0\xa9quantizer\x82\xa4name\xa7palette\xa6params\x80\xa9reference\xc0"
    b"\xa9transform\x82\xa4name\xa7palette\xa6params\x82\xafcorrection_step\x00\xa7palette\xc4\x30"
    b"\xa5video\x88\xa5audio\x90\xa5color\x84\xa6matrix\x02\xa9primaries\x02\xa5range\x00\xa8transfer\x02"
    b"\xaaframe_rate\x92\x1e\x01\xa6height\xcc\xd2\xacpixel_aspect\xc0\xa8rotation\x00\xa9time_base\x92\x01\xcd\x3a\x98"
    b"\xa5width\xcd\x01\x40\xa6writer\xadpacodec 0.2.0"
)
"""Names and values as they often follow one another, the most frequent last."""
PLAIN, DEFLATED = b"\x00", b"\x01"
DEFLATE_LEVEL = 9

MAX_DEPTH = 8
"""Maps and lists inside one another, the outermost map included."""
MAX_ITEMS = 1 << 14
"""Items of one list or map."""
MAX_TOTAL_ITEMS = 1 << 16
"""Items of all lists and maps together: an empty one takes a byte, and in memory eighty times as much."""
INT_MIN, INT_MAX = -(1 << 63), (1 << 64) - 1


def pack_map(values: Mapping[str, Any], name: str) -> bytes:
    """`values` as they are stored, keys sorted: equal maps give equal bytes. CorruptFileError for other types."""
    try:
        packed = bytes(msgpack.packb(plain(values, name), use_bin_type=True))
    except UnicodeEncodeError:
        raise CorruptFileError(f"{name}: a string is not valid Unicode") from None
    deflate = zlib.compressobj(DEFLATE_LEVEL, wbits=-zlib.MAX_WBITS, zdict=DICTIONARY)
    deflated = deflate.compress(packed) + deflate.flush()
    return DEFLATED + deflated if len(deflated) < len(packed) else PLAIN + packed


def unpack_map(data: bytes, name: str, most: int) -> dict[str, Any]:
    """The map in `data`, of `most` bytes at the most.

    LimitError when it is larger, CorruptFileError for anything but one map of plain values with unique string keys.
    """
    data = _inflated(data, name, most)
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


def _inflated(data: bytes, name: str, most: int) -> bytes:
    """The msgpack of a stored map."""
    kind, body = data[:1], data[1:]
    if kind == DEFLATED:
        inflate = zlib.decompressobj(-zlib.MAX_WBITS, zdict=DICTIONARY)
        try:
            body = inflate.decompress(body, most + 1)
        except zlib.error as error:
            raise CorruptFileError(f"{name} does not decompress: {error}") from None
        if len(body) <= most and (not inflate.eof or inflate.unused_data):
            raise CorruptFileError(f"{name} is cut short, or something follows it")
    elif kind != PLAIN:
        raise CorruptFileError(f"{name} is neither plain nor deflated")
    if len(body) > most:
        raise LimitError(f"{name} has more than the {most} bytes that are allowed")
    return body


def _refuse_extension(code: int, _: bytes) -> None:
    raise ValueError(f"extension type {code} is not allowed")


class _Room:
    """Counts the items of lists and maps as they are made; ValueError where they are more than `left`."""

    def __init__(self, left: int) -> None:
        self._left = left

    def of_list(self, items: list[Any]) -> list[Any]:
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


Ints = NDArray[np.int64]

MAX_VARINT_BYTES = 9
"""Nine groups of seven bits: every varint fits an int64."""


def encode_varints(values: Sequence[int] | Ints) -> bytes:
    """The varints of `values` (each 0 to 2^63 - 1), least significant group first."""
    column = np.asarray(values, np.int64).astype(np.uint64)
    shifts = np.arange(0, 7 * MAX_VARINT_BYTES, 7, dtype=np.uint64)
    rest = column[:, None] >> shifts
    groups = (rest & np.uint64(0x7F)).astype(np.uint8)
    groups[:, :-1] |= np.where(rest[:, 1:] > 0, 0x80, 0).astype(np.uint8)
    used = rest > 0
    used[:, 0] = True
    return groups[used].tobytes()


def decode_varints(data: bytes, most: int) -> Ints:
    """All varints of `data`, int64 [n]; CorruptFileError for one that is cut or over 63 bits, or more than `most`."""
    raw = np.frombuffer(data, np.uint8)
    ends = raw < 0x80
    # Before the columns below take fifty times the memory of the bytes.
    if np.count_nonzero(ends) > most:
        raise CorruptFileError(f"more than {most} variable-length integers")
    last = np.flatnonzero(ends)
    if raw.size and (last.size == 0 or last[-1] != raw.size - 1):
        raise CorruptFileError("a variable-length integer is cut short")
    if raw.size == 0:
        return np.zeros(0, np.int64)
    first = np.concatenate(([0], last[:-1] + 1))
    lengths = last - first + 1
    if lengths.max() > MAX_VARINT_BYTES:
        raise CorruptFileError("a variable-length integer is longer than 63 bits")
    shifts = 7 * (np.arange(raw.size) - np.repeat(first, lengths))
    return np.add.reduceat((raw & 0x7F).astype(np.int64) << shifts, first)


def zigzag(values: Ints) -> Ints:
    """Signed to unsigned, small magnitudes first: 0, -1, 1, -2 ... become 0, 1, 2, 3 ... (|value| < 2^62)."""
    return (values << 1) ^ (values >> 63)


def unzigzag(values: Ints) -> Ints:
    """The inverse of `zigzag`."""
    return (values >> 1) ^ -(values & 1)
