"""What is remembered of a vector: digests of its symbols, times, sound and, where they are exact, pixels."""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from independent.reader import Video
from numpy.typing import NDArray

import pacodec
from pacodec.container import Reader
from pacodec.errors import CorruptFileError

EXACT = ("palette", "shades", "filtered")
"""Transforms that give the same pixels on every machine."""
Pictures = NDArray[np.uint8]
Facts = dict[str, Any]


def digest(*parts: bytes) -> str:
    """sha256 of parts one after another, in hex."""
    return hashlib.sha256(b"".join(parts)).hexdigest()


def symbols(path: Path) -> Facts:
    """Of all that pacodec can read of a file: the codes of every frame, the timestamps, and the audio packets."""
    codes: list[bytes] = []
    times: list[list[int]] = []
    with pacodec.open(path) as video, Reader(path) as reader:
        first = 0
        for number, entry in enumerate(reader.gops):
            with suppress(CorruptFileError):
                codes += [video.codes(frame).tobytes() for frame in range(first, first + entry.frames)]
                times.append([entry.first_frame, *reader.gop(number).pts.tolist()])
            first += entry.frames
        packets = [([p.stream, p.keyframe, p.pts, p.dts, p.duration], p.data) for p in reader.audio()]
    return _facts(codes, times, packets)


def symbols_of(video: Video) -> Facts:
    """The same of what the independent reader has read."""
    codes = [grid.tobytes() for group in video.groups for grid in group.codes]
    times = [[found.group.first_frame, *found.group.times] for found in video.groups]
    packets = [([p.track, p.keyframe, p.pts, p.dts, p.duration], p.data) for p in video.audio]
    return _facts(codes, times, packets)


def _facts(codes: list[bytes], times: list[list[int]], packets: list[tuple[list[int], bytes]]) -> Facts:
    facts: Facts = {
        "frames": len(codes),
        "codes_sha256": digest(*codes),
        "times_sha256": digest(*map(_words, times)),
    }
    if packets:
        facts["packets"] = len(packets)
        facts["packets_sha256"] = digest(*(part for numbers, data in packets for part in (_words(numbers), data)))
    return facts


def _words(numbers: Sequence[int]) -> bytes:
    return np.array(numbers, "<i8").tobytes()


def pictures(path: Path) -> Pictures:
    """All frames that pacodec can read, uint8 [n, H, W, 3]."""
    with pacodec.open(path, device="cpu") as video:
        found = [np.empty((0, video.metadata.height, video.metadata.width, 3), np.uint8)]
        for number in range(len(video)):
            with suppress(CorruptFileError):
                found.append(video[number][None])
    return np.concatenate(found)


def is_exact(path: Path) -> bool:
    """Whether the file's transform gives the same pixels everywhere."""
    return pacodec.info(path).transform in EXACT
