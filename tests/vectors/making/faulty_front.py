"""Faults of the first bytes, the header, and the order of chunks."""

from collections.abc import Mapping
from typing import Any

import msgpack
from vectors.making import surgery
from vectors.making.surgery import Change
from vectors.making.tampering import (
    LIMIT,
    UNSUPPORTED,
    Fault,
    announced,
    fault,
    flip,
)

NESTED: Any = []
for _ in range(8):
    NESTED = [NESTED]
EXTENSION = msgpack.packb(msgpack.Timestamp(1))


def head(change: Change) -> Change:
    """Change the payload of HEAD."""
    return lambda data: surgery.changed(data, "HEAD", change)


def added(raw: bytes) -> Change:
    """Put a key `later` with a value of raw msgpack into a map of fewer than 15 keys."""
    return lambda packed: bytes([packed[0] + 1]) + packed[1:] + b"\xa5later" + raw


def between_gops(data: bytes) -> bytes:
    """The file with an unknown critical chunk after its first GOP, and without the index that would skip it."""
    head, first, *others = surgery.indexless(surgery.split(data))
    return surgery.join([head, first, ("ABCX", b""), *others], data[:32])


FRONT: Mapping[str, Fault] = {
    "empty": fault("no bytes at all", lambda data: b""),
    "bad-magic": fault("first byte wrong", flip(0)),
    "text-mode": fault("line ends changed by a transfer as text", lambda data: data.replace(b"\r\n", b"\n")),
    "short": fault("cut within the first 32 bytes", lambda data: data[:20]),
    "future-reader": fault(
        "needs a reader of version 2", lambda data: surgery.preamble(version=2, min_reader=2) + data[32:], UNSUPPORTED
    ),
    "preamble-crc": fault("CRC of the first 32 bytes wrong", flip(30)),
    "frames-over-limit": fault("declares 10^8 + 1 frames", lambda data: surgery.preamble(10**8 + 1) + data[32:], LIMIT),
    "no-head": fault("ends before the header", lambda data: data[:32]),
    "head-crc": fault("one bit of the header changed", flip(60)),
    "head-start-crc": fault("CRC of the header's length wrong", flip(45)),
    "head-not-first": fault(
        "another chunk before the header", lambda data: data[:32] + surgery.chunk("abcX", b"") + data[32:]
    ),
    "head-over-limit": fault("a header of 2^20 + 1 bytes", announced("HEAD", (1 << 20) + 1), LIMIT),
    "head-array": fault("the header is an array", head(lambda payload: b"\x91" + payload)),
    "head-bytes-after": fault("a byte after the header's map", head(lambda payload: payload + b"\xc0")),
    "head-cut": fault("the header's map is cut", head(lambda payload: payload[:-3])),
    "head-key-twice": fault("a key twice", head(lambda payload: added(b"\x01")(added(b"\x01")(payload)))),
    "head-extension": fault("a timestamp, which is an extension", head(added(EXTENSION))),
    "head-deep": fault("nested 9 deep", head(added(msgpack.packb(NESTED[0])))),
    "head-array-bomb": fault(
        "an array of 2^32 - 1 items, none of which is there", head(added(b"\xdd\xff\xff\xff\xff"))
    ),
    "head-many-items": fault("an array of 16385 items", head(added(b"\xdc\x40\x01" + b"\xc0" * 16385))),
    "head-many-in-all": fault(
        "arrays of 65600 items in all", head(added(b"\x98" + (b"\xdc\x20\x08" + b"\xc0" * 8200) * 8))
    ),
    "head-not-utf8": fault("a str that is not UTF-8", head(added(b"\xa1\xff"))),
    "head-nan": fault("a float that is not finite", head(added(msgpack.packb(float("nan"))))),
    "head-no-grid": fault("no grid", surgery.header(grid=None)),
    "head-bool": fault("a bool for an int", surgery.header(grid={"channels": True})),
    "head-name-control": fault("a name with a control character", surgery.header(writer="\x1b[2J")),
    "head-name-long": fault("a name of 257 characters", surgery.header(writer="w" * 257)),
    "head-fraction": fault("a fraction not in lowest terms", surgery.header(video={"time_base": [2, 50]})),
    "head-fraction-zero": fault("a fraction with 0", surgery.header(video={"time_base": [1, 0]})),
    "head-width-zero": fault("pictures without width", surgery.header(video={"width": 0}), LIMIT),
    "head-width": fault("pictures 16385 wide", surgery.header(video={"width": 16385}), LIMIT),
    "head-pixels": fault("pictures of 2^28 pixels", surgery.header(video={"width": 16384, "height": 16384}), LIMIT),
    "head-grid": fault("grids of more than 2^28 codes", surgery.header(grid={"channels": 1 << 19}), LIMIT),
    "head-tracks": fault("33 audio tracks", surgery.header(video={"audio": [{}] * 33}), LIMIT),
    "head-sha256": fault("a sha256 of 31 bytes", surgery.header(model={"name": "m", "sha256": bytes(31)})),
    "unknown-transform": fault(
        "a transform of the future",
        surgery.header(transform={"name": "oracle"}),
        UNSUPPORTED,
        base="conv4-scale",
    ),
    "unknown-quantizer": fault(
        "a quantizer of the future",
        surgery.header(quantizer={"name": "oracle"}),
        UNSUPPORTED,
        base="conv4-scale",
    ),
    "unknown-predictor": fault("a predictor of the future", surgery.header(predictor={"name": "oracle"}), UNSUPPORTED),
    "critical-chunk": fault(
        "an unknown critical chunk before the first GOP",
        lambda data: surgery.inserted(data, ("ABCX", b""), "GOPC"),
        UNSUPPORTED,
    ),
    "critical-chunk-late": fault(
        "an unknown critical chunk after the first GOP, no index",
        between_gops,
        UNSUPPORTED,
    ),
}
