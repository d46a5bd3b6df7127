"""Faults of groups of pictures and of audio, their codes left aside."""

import struct
from collections.abc import Mapping

from vectors.making import surgery
from vectors.making.surgery import Change
from vectors.making.tampering import (
    BOMB,
    CORRUPT,
    LIMIT,
    TIMES,
    Fault,
    announced,
    fault,
    in_gop,
    with_dictionary,
    zstd,
)


def lying() -> bytes:
    """A zstd frame of 200 bytes that declares 40."""
    frame = zstd(bytes(200))
    length_at = 5
    assert frame[length_at] == 200
    return frame[:length_at] + bytes([40]) + frame[length_at + 1 :]


def audio(change: Change) -> Change:
    """Change the first batch of packets."""
    return lambda data: surgery.changed(data, "audp", change)


def packets(*rows: tuple[int, int, int, int, int], data: bytes, count: int | None = None) -> Change:
    """Put a batch of packets in the place of the first one: (2 track + keyframe, pts, dts, duration, size) each."""
    table = b"\0" + bytes(value for column in zip(*rows, strict=True) for value in column)
    return audio(lambda _: struct.pack("<II", len(rows) if count is None else count, len(table)) + table + data)


GOPS: Mapping[str, Fault] = {
    "gop-over-limit": fault("a GOP of 2^30 + 1 bytes is announced", announced("GOPC", (1 << 30) + 1), LIMIT),
    "gop-announced": in_gop("a GOP of 2^30 bytes is announced, 100 are there", announced("GOPC", 1 << 30)),
    "gop-short": in_gop("a GOP shorter than its fields", lambda data: surgery.changed(data, "GOPC", lambda p: p[:23])),
    "gop-side-longer": in_gop("a side map longer than the GOP", surgery.fields(side_length=5000)),
    "gop-side-over-limit": in_gop("a side map of 2^20 + 1 bytes", surgery.fields(side_length=(1 << 20) + 1), LIMIT),
    "gop-side-array": in_gop("a side map of 2^32 - 1 entries", surgery.side_bytes(b"\xdf\xff\xff\xff\xff")),
    "gop-no-frames": in_gop("a GOP of no frames", surgery.fields(frames=0, coded=0), LIMIT),
    "gop-many-frames": in_gop("a GOP of 65537 frames", surgery.fields(frames=65537), LIMIT),
    "gop-number-over-limit": in_gop("frame 10^8", surgery.fields(first_frame=10**8), LIMIT),
    "gop-number-wraps": in_gop("frame 2^64 - 1", surgery.fields(first_frame=(1 << 64) - 1), LIMIT),
    "gop-number": in_gop("the number of a frame that was there before", surgery.fields(1, first_frame=0)),
    "gop-coded-frames": in_gop("another number of coded frames", surgery.fields(coded=1)),
    "gop-codes-crc": in_gop("CRC of the codes wrong", surgery.fields(crc=12345)),
    "repeats-first": in_gop("the first frame repeats another", surgery.side(repeats=b"\0\1")),
    "repeats-unused": in_gop("unused bits of the repeat flags set", surgery.side(repeats=b"\0\x88")),
    "repeats-short": in_gop("too few repeat flags", surgery.side(repeats=b"\0")),
    "pts-missing": in_gop("no timestamps", surgery.side(pts=None)),
    "pts-type": in_gop("timestamps as an array", surgery.side(pts=[0, 1, 2, 3, 4, 5])),
    "pts-equal": in_gop("two frames at the same time", surgery.side(pts=b"\0\0\0")),
    "pts-back": in_gop("timestamps that go back", surgery.side(pts=b"\0\0\1")),
    "pts-far": in_gop("timestamps beyond 2^59", surgery.side(pts=b"\0\0" + b"\xff" * 8 + b"\x7f")),
    "pts-wrap": in_gop(
        "timestamps whose sum wraps around", surgery.side(pts=b"\0" + (b"\xfe" + b"\xff" * 7 + b"\x7f") * 6)
    ),
    "pts-many": in_gop("more timestamps than frames and one", surgery.side(pts=b"\0" + b"\2" * 30)),
    "pts-over-bound": in_gop("more bytes of timestamps than there can be", surgery.side(pts=b"\0" + b"\2" * 99), LIMIT),
    "pts-cut": in_gop("a varint that is cut", surgery.side(pts=b"\0\0\x80")),
    "pts-long": in_gop("a varint of 10 bytes", surgery.side(pts=b"\0\0" + b"\x80" * 9 + b"\1")),
    "squeezed-kind": in_gop("squeezed bytes neither raw nor zstd", surgery.side(pts=b"\2" + TIMES)),
    "squeezed-empty": in_gop("squeezed bytes without their first", surgery.side(pts=b"")),
    "squeezed-bomb": in_gop("zstd of 2^26 bytes", surgery.side(pts=b"\1" + BOMB), LIMIT),
    "squeezed-lie": in_gop("zstd that holds more than it declares", surgery.side(pts=b"\1" + lying())),
    "squeezed-no-size": in_gop(
        "zstd that does not declare its size", surgery.side(pts=b"\1" + zstd(TIMES, size=False))
    ),
    "squeezed-no-zstd": in_gop("no zstd where it is announced", surgery.side(pts=b"\1" + TIMES * 4)),
    "squeezed-window": in_gop(
        "zstd with a window of 2^27 bytes", surgery.side(pts=b"\1" + surgery.wide_window(TIMES)), LIMIT
    ),
    "squeezed-after": in_gop("bytes after a zstd frame", surgery.side(pts=b"\1" + zstd(TIMES) + b"\0")),
    "squeezed-skippable": in_gop(
        "a skippable zstd frame", surgery.side(pts=b"\1\x50\x2a\x4d\x18\0\0\0\0" + zstd(TIMES))
    ),
    "squeezed-dictionary": in_gop("zstd with a dictionary", surgery.side(pts=b"\1" + with_dictionary(TIMES))),
}
AUDIO: Mapping[str, Fault] = {
    "audio-over-limit": fault(
        "an audio chunk of 2^24 + 1 bytes is announced", announced("audp", (1 << 24) + 1), LIMIT, base="audio-opus"
    ),
    **{
        name: in_gop(about, change, error, base="audio-opus")
        for name, (about, change, error) in {
            "audio-short": ("an audio chunk shorter than its fields", audio(lambda _: b"\0" * 7), CORRUPT),
            "audio-count": ("65537 packets in a chunk", packets((0, 0, 0, 1, 1), data=b"x", count=65537), CORRUPT),
            "audio-table": ("fewer values than packets need", packets((0, 0, 0, 1, 1), data=b"x", count=2), CORRUPT),
            "audio-table-long": ("a table longer than its chunk", audio(lambda _: struct.pack("<II", 1, 999)), CORRUPT),
            "audio-track": ("a packet of a track that is not there", packets((2, 0, 0, 1, 1), data=b"x"), CORRUPT),
            "audio-size": ("a packet longer than its chunk", packets((0, 0, 0, 1, 9), data=b"x"), CORRUPT),
            "audio-empty-packet": ("a packet of no bytes", packets((0, 0, 0, 1, 0), data=b""), CORRUPT),
            "audio-rest": ("bytes that belong to no packet", packets((0, 0, 0, 1, 1), data=b"xy"), CORRUPT),
        }.items()
    },
}
