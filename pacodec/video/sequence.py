"""Sequences of pictures, a file each, named by a pattern."""

from __future__ import annotations  # av.Packet is generic to a type checker only

import glob
import os
import re
from collections.abc import Callable, Generator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
from av.packet import Packet
from av.stream import Stream

from pacodec.common.media import AudioStream
from pacodec.errors import CorruptFileError, FileAccessError, UsageError
from pacodec.video.source import DEFAULT_RATE, FrameSource, Source

_NUMBER = re.compile(r"%(0\d+)?d")
_GLOB = re.compile(r"[*?\[]")
_DIGITS = re.compile(r"(\d+)")


def is_pattern(name: str) -> bool:
    """Whether a name is that of a sequence (frame_%04d.png, shots/*.png), and not of a file that exists."""
    return bool(_NUMBER.search(name) or _GLOB.search(name)) and not os.path.lexists(name)


def is_numbered(name: str) -> bool:
    """Whether the last part of a name has a place for a number (frame_%04d.png)."""
    return bool(_NUMBER.search(Path(name).name))


class SequenceSource:
    """Pictures in the order of their numbers (see `FrameSource`); of files with several frames the first is taken.

    Args:
        pattern: with one %d or %04d in its last part, or with *, ? or [] as a shell has them.
        frame_rate: frames/s, by default 25.
        open_footage: opens one of the files.

    Raises:
        FileAccessError: no file has such a name.
        UsageError: the pattern has more than one number.
    """

    def __init__(
        self, pattern: str, frame_rate: Fraction | None, open_frame_source: Callable[[Source], FrameSource]
    ) -> None:
        self.name, self._open = pattern, open_frame_source
        self._paths, self.warnings = _matching(pattern)
        if not self._paths:
            raise FileAccessError(f"{pattern}: no file has such a name")
        if frame_rate is None:
            self.warnings.append(f"a sequence of pictures says nothing of time: {DEFAULT_RATE} frames/s (see --fps)")
        self.frame_rate: Fraction | None = frame_rate or DEFAULT_RATE
        self.time_base = 1 / self.frame_rate
        self.pixel_aspect: Fraction | None = None
        self.tracks: dict[int, AudioStream] = {}
        self.frames_hint: int | None = len(self._paths)
        try:
            self.source_bytes: int | None = sum(path.stat().st_size for path in self._paths)
        except OSError as error:
            raise FileAccessError(f"{error.filename}: {error.strerror}") from error

    def close(self) -> None:
        """Do nothing: no file is open between two pictures."""

    def events(self) -> Generator[av.VideoFrame | Packet[Stream], None, None]:
        """The picture of each file. FileAccessError or CorruptFileError naming a file that cannot be read."""
        for number, path in enumerate(self._paths):
            frame = self._first_frame(path)
            frame.pts, frame.duration, frame.time_base = number, 1, self.time_base
            yield frame

    def _first_frame(self, path: Path) -> av.VideoFrame:
        footage = self._open(path)
        try:
            for event in footage.events():
                if isinstance(event, av.VideoFrame):
                    return event
        finally:
            footage.close()
        raise CorruptFileError(f"{path}: no frame of it can be decoded")


def numbered(pattern: str) -> Callable[[int], Path]:
    """The file of each number of a pattern like frame_%04d.png; UsageError unless it has exactly one number."""
    parts = _NUMBER.split(pattern)
    if len(parts) != 3 or "/" in parts[2]:
        raise UsageError(f"{pattern}: the last part of the name must have one number like %04d")
    before, width, after = parts[0], int(parts[1] or 0), parts[2]
    return lambda number: Path(f"{before}{number:0{width}d}{after}")


def existing(pattern: str) -> dict[int, Path]:
    """The files that have the name of a pattern like frame_%04d.png, by their numbers in ascending order."""
    name = numbered(pattern)
    folder = name(0).parent
    before, _, after = _NUMBER.split(Path(pattern).name)
    digits = re.compile(re.escape(before) + r"(\d+)" + re.escape(after))
    try:
        matches = [digits.fullmatch(path.name) for path in folder.iterdir()]
    except OSError as error:
        raise FileAccessError(f"{folder}: {error.strerror}") from error
    numbers = sorted(int(match[1]) for match in matches if match and name(int(match[1])).name == match[0])
    return {number: name(number) for number in numbers}


def _matching(pattern: str) -> tuple[list[Path], list[str]]:
    """The files in order, and a line where numbers are missing."""
    if not _NUMBER.search(pattern):
        names = glob.glob(pattern)  # noqa: PTH207 - an absolute pattern has no folder to start from
        return [path for path in map(Path, sorted(names, key=_natural)) if path.is_file()], []
    found = existing(pattern)
    gaps = [(a + 1, b - 1) for a, b in pairwise(found) if b > a + 1]
    missing = ", ".join(f"{a}" if a == b else f"{a} to {b}" for a, b in gaps[:3])
    missing += " and more" if len(gaps) > 3 else ""
    lines = [f"pictures are missing from the sequence: {missing}; those that follow move up"] if gaps else []
    return list(found.values()), lines


def _natural(name: str) -> list[str | int]:
    """A key that sorts shot2 before shot10."""
    return [int(part) if part.isdecimal() else part for part in _DIGITS.split(name)]
