"""Sections "Groups of pictures", "Audio" and "Index": the payloads of GOPC, audp and indx."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from independent.chunks import MAX_FRAMES, MIB
from independent.plain import field, plain_map, unsqueeze, unzigzag, varints
from independent.refusal import bounded, expect

MAX_TIME = 1 << 59


@dataclass(frozen=True)
class Group:
    """A group of pictures: timestamps p[0 .. n], which frames repeat the one before, and their codes, still packed."""

    first_frame: int
    times: Sequence[int]
    repeats: Sequence[bool]
    crc: int
    quantizer: Mapping[str, Any]
    transform: Mapping[str, Any]
    payload: bytes

    @property
    def frames(self) -> int:
        """Frames, repeats included."""
        return len(self.repeats)

    @property
    def coded(self) -> int:
        """Frames that have codes of their own."""
        return self.frames - sum(self.repeats)


@dataclass(frozen=True)
class Packet:
    """An encoded audio packet."""

    track: int
    keyframe: bool
    pts: int
    dts: int
    duration: int
    data: bytes


@dataclass(frozen=True)
class Entry:
    """What the index says of a group: the offset and payload length of its chunk, and the rest as the group says it."""

    offset: int
    length: int
    first_frame: int
    frames: int
    begin: int
    end: int


def read_group(payload: bytes) -> Group:
    """Of a GOPC chunk."""
    expect(len(payload) >= 24, "a GOP is shorter than its fields")
    first, frames, coded, crc, side_length = struct.unpack_from("<QIIII", payload)
    bounded("the side map", side_length, MIB)
    expect(24 + side_length <= len(payload), "a side map is longer than its GOP")
    bounded("the frames of a GOP", frames, 65536, 1)
    bounded("the frames of the file", first + frames, MAX_FRAMES)
    side = plain_map(payload[24 : 24 + side_length], "side map")
    repeats = [False] * frames
    if "repeats" in side:
        size = -(-frames // 8)
        flags = unsqueeze(field(side, "repeats", bytes, "side map"), "repeats", size)
        expect(len(flags) == size, "the repeats do not fit the frames")
        bits = [bool(flags[i // 8] >> i % 8 & 1) for i in range(8 * size)]
        repeats = bits[:frames]
        expect(not any(bits[frames:]) and not repeats[0], "a repeat flag is set that must not be")
    maps = {key: field(side, key, dict, "side map") if key in side else {} for key in ("quantizer", "transform")}
    times = _times(unsqueeze(field(side, "pts", bytes, "side map"), "pts", 9 * (frames + 1)), frames)
    group = Group(first, times, repeats, crc, maps["quantizer"], maps["transform"], payload[24 + side_length :])
    expect(group.coded == coded, "the number of coded frames is not that of the repeats")
    return group


def _times(data: bytes, frames: int) -> list[int]:
    stored = [unzigzag(z) for z in varints(data)]
    expect(len(stored) <= frames + 1, "a GOP has too many timestamps")
    first, *seconds = stored + [0] * (frames + 1 - len(stored))
    times, step = [first], 0
    for second in seconds:
        step = _wrapped(step + second)
        times.append(_wrapped(times[-1] + step))
    expect(all(a < b for a, b in pairwise(times[:-1])) and times[-2] <= times[-1], "times go back")
    expect(all(abs(time) <= MAX_TIME for time in times), "timestamps are out of range")
    return times


def _wrapped(value: int) -> int:
    """As a signed integer of 64 bits."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


def read_audio(payload: bytes, tracks: int) -> list[Packet]:
    """The packets of an audp chunk of a file with so many tracks."""
    expect(len(payload) >= 8, "an audio chunk is shorter than its fields")
    count, table_length = struct.unpack_from("<II", payload)
    bounded("the packets of a chunk", count, 65536)
    at = 8 + table_length
    expect(at <= len(payload), "an audio table is longer than its chunk")
    table = varints(unsqueeze(payload[8:at], "audio table", 45 * count))
    expect(len(table) == 5 * count, "an audio table has not five values a packet")
    packets: list[Packet] = []
    last: dict[int, int] = {}
    for tag, step, offset, duration, size in zip(*(table[i * count : (i + 1) * count] for i in range(5)), strict=True):
        track, pts = tag >> 1, last.get(tag >> 1, 0) + unzigzag(step)
        last[track], dts = pts, pts + unzigzag(offset)
        expect(track < tracks, "an audio packet is of a track that is not there")
        expect(max(abs(pts), abs(dts)) <= MAX_TIME and duration <= MAX_TIME, "the times of a packet are out of range")
        bounded("the size of a packet", size, 16 * MIB, 1)
        expect(at + size <= len(payload), "an audio packet is longer than its chunk")
        packets.append(Packet(track, bool(tag & 1), pts, dts, duration, payload[at : at + size]))
        at += size
    expect(at == len(payload), "bytes of an audio chunk belong to no packet")
    return packets


@dataclass(frozen=True)
class Index:
    """Of an indx chunk."""

    entries: Sequence[Entry]
    source_bytes: int | None
    codes_bytes: int
    audio_bytes: int


def read_index(payload: bytes, origin: int, end: int) -> Index:
    """The index in a file whose HEAD chunk ends at `origin` and whose indx chunk begins at `end`."""
    values = plain_map(payload, "index")
    count = field(values, "gops", int, "index")
    bounded("the number of GOPs", count, MAX_FRAMES)
    expect(44 * count <= end - origin, "the index has more GOPs than fit the file")
    most = min(45 * count, 256 * MIB)
    table = varints(unsqueeze(field(values, "entries", bytes, "index"), "index entries", most))
    expect(len(table) == 5 * count, "the index has not five values a GOP")
    entries: list[Entry] = []
    offset, number, time = origin, 0, 0
    columns = (table[i * count : (i + 1) * count] for i in range(5))
    for gap, length, frames, pause, span in zip(*columns, strict=True):
        expect(length >= 24, "a GOP of the index is shorter than its fields")
        expect(1 <= frames <= 65536, "a GOP of the index has no frames or too many")
        begin = time + unzigzag(pause)
        expect(not entries or begin >= time, "a GOP of the index goes back in time")
        expect(abs(begin) <= MAX_TIME and begin + span <= MAX_TIME, "times of the index are out of range")
        entries.append(Entry(offset + gap, length, number, frames, begin, begin + span))
        offset, number, time = offset + gap + length + 20, number + frames, begin + span
        expect(offset <= end, "a GOP of the index lies outside the file")
    bounded("the frames of the file", number, MAX_FRAMES)
    source = field(values, "source_bytes", int, "index") if values.get("source_bytes") is not None else None
    codes, audio = (field(values, key, int, "index") for key in ("codes_bytes", "audio_bytes"))
    expect(min(source or 0, codes, audio) >= 0, "a size in the index is negative")
    expect(codes <= sum(entry.length for entry in entries) and audio <= end - origin, "sizes do not fit the file")
    return Index(entries, source, codes, audio)
