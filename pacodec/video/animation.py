"""Animated WebP, which FFmpeg does not read, through Pillow."""

from __future__ import annotations  # av.Packet is generic to a type checker only

import io
import os
from collections.abc import Generator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from av.packet import Packet
from av.stream import Stream
from PIL import Image, UnidentifiedImageError

from pacodec import limits
from pacodec.common.media import AudioStream
from pacodec.errors import CorruptFileError, FileAccessError
from pacodec.video.source import Source, source_name, source_size

_DEFAULT_MILLISECONDS = 100
"""How long a frame is shown that asks for no time at all, as in browsers."""
_FAILURES = (OSError, ValueError, SyntaxError, EOFError, MemoryError, Image.DecompressionBombError)
"""What Pillow raises for damaged files."""


class WebpSource:
    """A WebP file, animated or still (see `FrameSource`).

    Raises:
        FileAccessError: the source cannot be read.
        CorruptFileError: it is not WebP.
        LimitError: its pictures, or the file, are too large.
    """

    def __init__(self, source: Source) -> None:
        self.name = source_name(source)
        self.source_bytes = source_size(source)
        self.warnings: list[str] = []
        self.time_base = Fraction(1, 1000)
        self.pixel_aspect: Fraction | None = None
        self.tracks: dict[int, AudioStream] = {}
        try:
            self._image = Image.open(io.BytesIO(_content(source)), formats=("WEBP",))
        except (UnidentifiedImageError, *_FAILURES) as error:
            raise CorruptFileError(f"{self.name}: not a WebP file that can be read") from error
        limits.check(f"{self.name}: width", self._image.width, limits.MAX_SIDE)
        limits.check(f"{self.name}: height", self._image.height, limits.MAX_SIDE)
        limits.check(f"{self.name}: pixels of a frame", self._image.width * self._image.height, limits.MAX_PIXELS)
        self.frames_hint: int | None = getattr(self._image, "n_frames", 1)
        self.frame_rate: Fraction | None = None

    def close(self) -> None:
        self._image.close()

    def events(self) -> Generator[av.VideoFrame | Packet[Stream], None, None]:
        """The frames, as they are shown one after the other, with their opacities."""
        announced, time = self.frames_hint or 1, 0
        for number in range(announced):
            try:
                self._image.seek(number)
                picture = np.asarray(self._image.convert("RGBA"))
            except _FAILURES:
                self.warnings.append(f"input is damaged: {number} frames decoded of {announced} announced")
                return
            frame = av.VideoFrame.from_ndarray(picture, format="rgba")
            frame.pts, frame.time_base = time, self.time_base
            frame.duration = int(self._image.info.get("duration") or _DEFAULT_MILLISECONDS)
            time += frame.duration
            yield frame


def _content(source: Source) -> bytes:
    """All of a source; Pillow's decoder wants it in one piece."""
    try:
        if isinstance(source, str | os.PathLike):
            with Path(source).open("rb") as file:
                return _read(file)
        return _read(source)
    except OSError as error:
        raise FileAccessError(f"{source_name(source)}: {error.strerror or error}") from error


def _read(file: BinaryIO) -> bytes:
    data = bytearray()
    while part := file.read(limits.MAX_IMAGE_BYTES + 1 - len(data)):
        data += part
    limits.check("bytes of a WebP file", len(data), limits.MAX_IMAGE_BYTES)
    return bytes(data)
