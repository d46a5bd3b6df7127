"""Files that are damaged, of which readers recover what is intact."""

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgpack
from independent.plain import unsqueeze, varints
from vectors.making import surgery
from vectors.making.surgery import Change
from vectors.making.tampering import BOMB, flip
from vectors.making.vectors import stored
from vectors.making.workshop import Recipe


def from_base(about: str, change: Change, *, damaged: bool = False) -> Recipe:
    """A file of three GOPs, changed."""
    return Recipe(about, lambda _: change(stored("valid/palette")), damaged)


def middle(data: bytes, which: int) -> int:
    """An offset in the codes of a GOP."""
    at = 32
    for kind, payload in surgery.split(data):
        which -= kind == "GOPC"
        if kind == "GOPC" and which < 0:
            return at + 16 + len(payload) - 4
        at += len(payload) + 20
    raise IndexError


def with_copy(data: bytes) -> bytes:
    """The file with a copy of its front at the end, where only a longer file would have one."""
    front = data[:32] + surgery.split(data)[0][1]
    return surgery.inserted(data, ("head", front), "indx")


def index(**changes: Any) -> Change:
    """Other values in the index."""
    return lambda data: surgery.changed(data, "indx", lambda payload: surgery.edit_map(payload, **changes))


def entries(changes: Mapping[int, int]) -> Change:
    """Other entries: five columns of three values each, to some of which numbers are added."""
    return lambda data: index(entries=_packed(value + changes.get(n, 0) for n, value in enumerate(_entries(data))))(
        data
    )


def _of_two(data: bytes) -> dict[str, Any]:
    """What the index says without the last of its three GOPs."""
    kept = _packed(value for n, value in enumerate(_entries(data)) if n % 3 < 2)
    return {"gops": 2, "entries": kept, "codes_bytes": 0}


def _entries(data: bytes) -> Sequence[int]:
    payload = next(payload for kind, payload in surgery.split(data) if kind == "indx")
    return varints(unsqueeze(msgpack.unpackb(payload)["entries"], "entries", 1000))


def _packed(values: Iterable[int]) -> bytes:
    return b"\0" + b"".join(map(_varint, values))


def _varint(value: int) -> bytes:
    groups = [value >> shift & 127 | 128 for shift in range(0, 63, 7)]
    return bytes([*groups[:-1], groups[-1] & 127])


RECIPES: Mapping[str, Recipe] = {
    "index-shifted": from_base("an index that is one byte off", entries({0: 1}), damaged=True),
    "index-outside": from_base("an index with a GOP beyond the end", entries({2: 1 << 30}), damaged=True),
    "index-wraps": from_base(
        "an index whose offsets wrap around to where they began",
        entries({1: (1 << 63) - 1, 2: (1 << 63) - 1}),
        damaged=True,
    ),
    "index-gop-shifted": from_base(
        "an index in which the second of three GOPs is one byte off", entries({1: 1, 4: -1}), damaged=True
    ),
    "index-frames": from_base(
        "an index that counts a frame of the second GOP to the first", entries({6: 1, 7: -1}), damaged=True
    ),
    "index-times": from_base("an index in which the second GOP begins late", entries({10: 20, 13: -10}), damaged=True),
    "index-short": from_base(
        "an index without the last GOP, the number of frames not declared",
        lambda data: surgery.preamble() + index(**_of_two(data))(data)[32:],
        damaged=True,
    ),
    "index-many": from_base("an index of a million GOPs", index(gops=10**6), damaged=True),
    "index-few": from_base("an index with fewer values than GOPs need", index(gops=4), damaged=True),
    "index-bomb": from_base("an index of 2^26 bytes of zstd", index(entries=b"\1" + BOMB), damaged=True),
    "index-array": from_base(
        "an index that is an array of 2^32 - 1 items",
        lambda data: surgery.changed(data, "indx", lambda _: b"\xdd" + b"\xff" * 4),
        damaged=True,
    ),
    "front-header": from_base(
        "one bit of the header changed, of which there is a copy", lambda data: flip(60)(with_copy(data)), damaged=True
    ),
    "front-preamble": from_base(
        "the first 32 bytes overwritten, of which there is a copy",
        lambda data: bytes(32) + with_copy(data)[32:],
        damaged=True,
    ),
    "front-start": from_base(
        "the start of the header chunk changed, of which there is a copy",
        lambda data: flip(36)(with_copy(data)),
        damaged=True,
    ),
    "no-index": from_base(
        "ends after its last GOP, as while it is written",
        lambda data: surgery.join(surgery.indexless(surgery.split(data))),
        damaged=True,
    ),
    "no-tail": from_base("cut within the tail", lambda data: data[:-5], damaged=True),
    "cut": from_base("cut within the last GOP", lambda data: data[: middle(data, 2)], damaged=True),
    "damaged-index": from_base("one bit of the index changed", lambda data: flip(len(data) - 35)(data), damaged=True),
    "wrong-tail": from_base(
        "the tail points at the beginning",
        lambda data: data[:-28] + surgery.chunk("tail", struct.pack("<Q", 32)),
        damaged=True,
    ),
    "damaged-gop": from_base(
        "one bit changed in the second of three GOPs", lambda data: flip(middle(data, 1))(data), damaged=True
    ),
    "damaged-gop-no-index": from_base(
        "one bit changed in the second of three GOPs, and the end is missing",
        lambda data: flip(middle(data, 1))(data)[:-40],
        damaged=True,
    ),
    "bytes-added": from_base(
        "some bytes too many within the first GOP",
        lambda data: data[: middle(data, 0)] + b"GOPC and others" + data[middle(data, 0) :],
        damaged=True,
    ),
    "bytes-lost": from_base(
        "some bytes lost within the second GOP",
        lambda data: data[: middle(data, 1) - 9] + data[middle(data, 1) :],
        damaged=True,
    ),
    "bytes-after": from_base("something after the tail", lambda data: data + b"something", damaged=True),
    "gop-lost": from_base(
        "the second of three GOPs is not there, nor is an index",
        lambda data: surgery.join(
            [part for number, part in enumerate(surgery.indexless(surgery.split(data))) if number != 2], data[:32]
        ),
        damaged=True,
    ),
}
