"""A reader of .pac files that was written from FORMAT.md alone and shares nothing with pacodec: slow, and plain."""

import hashlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from independent import chunks
from independent.chunks import Chunk
from independent.groups import Entry, Group, Index, Packet, read_audio, read_group, read_index
from independent.header import read_header
from independent.model_file import ModelFile, read_model
from independent.plain import plain_map
from independent.predictors import decode_codes
from independent.refusal import Corrupt, OverLimit, Refused, Unsupported, expect
from numpy.typing import NDArray

FindModel = Callable[[bytes], bytes | None]
"""The bytes of the model file of a sha256."""


@dataclass(frozen=True)
class DecodedGroup:
    """A group with the codes of each of its frames, repeats included: uint8 [frames, channels, height, width]."""

    group: Group
    codes: NDArray[np.uint8]


@dataclass
class Video:
    """Everything that could be read, and what was wrong with the rest."""

    header: Mapping[str, Any]
    model: ModelFile | None
    groups: list[DecodedGroup] = field(default_factory=list)
    audio: list[Packet] = field(default_factory=list)
    index: Index | None = None
    damage: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Front:
    """Declared frames, the header, and where its chunk ends."""

    frames: int
    header: Mapping[str, Any]
    end: int


def read(data: bytes, find_model: FindModel) -> Video:
    """Decode a file to its symbols; `Refused` where nothing can be had of it or it must not be read."""
    damage: list[str] = []
    copy = _copied_front(data)
    try:
        front = _front(data)
        if copy is not None and copy != front:
            damage.append("the copy of the front is another")
    except Corrupt as error:
        if copy is None:
            raise
        damage.append(str(error))
        front = copy
    found = list(chunks.scan(data, front.end, damage))
    reference = front.header.get("model")
    model = _model(reference, found, front.end, find_model) if reference else None
    video = Video(front.header, model, damage=damage)
    _read_chunks(video, found, front.frames)
    _read_index(video, data, found, front.end)
    return video


def _front(data: bytes) -> Front:
    frames = chunks.preamble(data)
    head = chunks.chunk(data, 32)
    expect(head is not None and head.kind == "HEAD" and head.intact, "the header is damaged or missing")
    assert head is not None
    return Front(frames, read_header(head.payload), head.end)


def _copied_front(data: bytes) -> Front | None:
    """The front as its copy says it, None where there is none."""
    index = _index_chunk(data, [])
    if index is None or not index.intact:
        return None
    try:
        offset = plain_map(index.payload, "index").get("head")
        copy = chunks.chunk(data, offset) if type(offset) is int and offset < index.offset else None
        if copy is None or copy.kind != "head" or not copy.intact:
            return None
        header = read_header(copy.payload[32:])
        return Front(chunks.preamble(copy.payload), header, len(copy.payload) + 20)
    except (Corrupt, OverLimit):
        return None


def _model(reference: Mapping[str, Any], found: list[Chunk], head_end: int, find_model: FindModel) -> ModelFile:
    embedded = next((c for c in found if c.kind == "modl" and c.offset == head_end), None)
    if embedded is not None:
        expect(embedded.intact, "the embedded model is damaged")
        data = embedded.payload
        expect(hashlib.sha256(data).digest() == reference["sha256"], "the embedded model is not the header's")
        return read_model(data)
    stored = find_model(reference["sha256"])
    if stored is None:
        raise Unsupported(f"the model {reference['name']} is needed and is not there")
    return read_model(stored)


def _read_chunks(video: Video, found: list[Chunk], declared: int) -> None:
    number, time = 0, -(1 << 63)
    for chunk in found:
        if not chunk.intact:
            continue
        try:
            if chunk.kind == "audp":
                video.audio += read_audio(chunk.payload, len(video.header["video"]["audio"]))
            elif chunk.kind == "GOPC":
                group = read_group(chunk.payload)
                expect(group.first_frame >= number and group.times[0] >= time, "it is out of order")
                if group.first_frame > number:
                    video.damage.append(f"frames {number} to {group.first_frame - 1} are lost")
                number, time = group.first_frame + group.frames, group.times[-1]
                video.groups.append(decode_group(video, group))
        except (Corrupt, OverLimit) as error:
            video.damage.append(f"the {chunk.kind} chunk at offset {chunk.offset}: {error}")
    if declared not in (0, number):
        video.damage.append(f"{declared} frames are declared, there are {number}")


def decode_group(video: Video, group: Group) -> DecodedGroup:
    """Codes that match their checksum."""
    header = video.header
    coded = decode_codes(header["predictor"]["name"], video.model, header["grid"], group.payload, group.coded)
    expect(zlib.crc32(coded.tobytes()) == group.crc, "the codes do not match their checksum")
    which = np.cumsum(~np.array(group.repeats)) - 1
    return DecodedGroup(group, coded[which])


def _index_chunk(data: bytes, damage: list[str]) -> Chunk | None:
    """The indx chunk that the last bytes point at."""
    tail = chunks.chunk(data, len(data) - 28) if len(data) >= 28 else None
    if tail is None or tail.kind != "tail" or not tail.intact:
        return None
    position = int.from_bytes(tail.payload, "little")
    found = chunks.chunk(data, position) if position < len(data) else None
    if found is None or found.kind != "indx" or found.end != tail.offset:
        damage.append("the tail points elsewhere")
        return None
    return found


def _read_index(video: Video, data: bytes, found: list[Chunk], head_end: int) -> None:
    """Find the index from the end, and compare it with what is there."""
    chunk = _index_chunk(data, video.damage)
    if chunk is None:
        return
    try:
        expect(chunk.intact, "the index is damaged")
        video.index = read_index(chunk.payload, head_end, chunk.offset)
    except (Corrupt, OverLimit) as error:
        video.damage.append(str(error))
        return
    places = [chunk for chunk in found if chunk.kind == "GOPC"]
    try:
        written = [_entry(chunk, read_group(chunk.payload)) for chunk in places if chunk.intact]
    except Refused:
        return
    sizes = (sum(len(found.group.payload) for found in video.groups), _audio_bytes(found))
    if written != list(video.index.entries) or sizes != (video.index.codes_bytes, video.index.audio_bytes):
        video.damage.append("the index is not that of the groups and the audio")


def _audio_bytes(found: Sequence[Chunk]) -> int:
    return sum(chunk.end - chunk.offset for chunk in found if chunk.kind == "audp")


def _entry(chunk: Chunk, group: Group) -> Entry:
    return Entry(chunk.offset, len(chunk.payload), group.first_frame, group.frames, group.times[0], group.times[-1])
