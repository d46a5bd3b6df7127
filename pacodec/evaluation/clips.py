"""The frames that every codec gets: decoded once, kept raw in a folder, named by their content."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import Any, Self

import numpy as np
from av.error import FFmpegError

from pacodec.common.media import Image, Pictures, VideoFormat
from pacodec.common.pixels import resize
from pacodec.errors import CorruptFileError
from pacodec.video.color import RgbConverter
from pacodec.video.source import DEFAULT_RATE, open_video
from pacodec.video.writer import VideoWriter


@dataclass(frozen=True)
class Clip:
    """Frames at an even rate, in a folder: raw, and as a lossless video for what takes a video."""

    name: str
    sha256: str
    """Of frames, size and rate."""
    frames: int
    width: int
    height: int
    rate: Fraction
    """Frames a second."""
    folder: Path

    @property
    def duration(self) -> float:
        """The length of the clip in seconds."""
        return float(self.frames / self.rate)

    @property
    def video(self) -> Path:
        """The frames as lossless RGB H.264."""
        return self.folder / "frames.mp4"

    def pictures(self) -> Pictures:
        """All frames, uint8 [frames, H, W, 3], mapped from the disk."""
        return np.memmap(_raw(self.folder), np.uint8, "r", shape=(self.frames, self.height, self.width, 3))

    def stream(self) -> Iterator[Image]:
        """Each frame, uint8 [H, W, 3], with no more than one in memory."""
        with _raw(self.folder).open("rb") as file:
            for _ in range(self.frames):
                data = file.read(self.height * self.width * 3)
                yield np.frombuffer(data, np.uint8).reshape(self.height, self.width, 3)

    def kbps(self, size: int) -> float:
        """The rate in kbit/s of that many bytes."""
        return size * 8 / 1000 / self.duration

    def to_dict(self) -> dict[str, Any]:
        """Values that JSON can hold; `from_dict` is the inverse."""
        return {**vars(self), "rate": str(self.rate), "folder": str(self.folder)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what `to_dict` gave."""
        return cls(**{**data, "rate": Fraction(data["rate"]), "folder": Path(data["folder"])})


def prepare(path: str, folder: Path, *, size: tuple[int, int] | None = None, frames: int | None = None) -> Clip:
    """Decode the first `frames` frames of a video (or all) into `folder`, resized by Lanczos to `size` (width, height).

    Time stamps are evened out to the average rate. Raises what `open_video` raises, and CorruptFileError where
    FFmpeg cannot go on. What it conceals is the same for every codec.
    """
    pictures = islice(_decode(path, size), frames)
    rate, first = next(pictures, (DEFAULT_RATE, None))
    if first is None:
        raise CorruptFileError(f"{path}: no frame of it can be decoded")
    height, width = first.shape[:2]
    digest = hashlib.sha256(f"{width}x{height} at {rate}".encode())
    format = VideoFormat(width, height, 1 / rate, rate)
    count = 0
    with _raw(folder).open("wb") as raw:
        clip = Clip(Path(path).stem, "", 0, width, height, rate, folder)
        with VideoWriter(clip.video, format, codec="lossless") as writer:
            for rgb in chain([first], (rgb for _, rgb in pictures)):
                data = rgb.tobytes()
                raw.write(data)
                digest.update(data)
                writer.write_frame(rgb, count, 1)
                count += 1
    return Clip(clip.name, digest.hexdigest(), count, width, height, rate, folder)


def _raw(folder: Path) -> Path:
    return folder / "frames.rgb"


def _decode(path: str, size: tuple[int, int] | None) -> Iterator[tuple[Fraction, Image]]:
    """(Frame rate, picture) of each frame, all of one size."""
    container, stream = open_video(path)
    with container:
        rate = stream.average_rate or stream.guessed_rate or DEFAULT_RATE
        convert: RgbConverter | None = None
        shape: tuple[int, ...] = ()
        try:
            for frame in container.decode(stream):
                convert = convert or RgbConverter(frame.width, frame.height)
                rgb = convert(frame)
                if size is not None:
                    rgb = resize(rgb[None], size[1], size[0])[0]
                if rgb.shape != (shape or rgb.shape):
                    raise CorruptFileError(f"{path}: the picture size changes; --size makes it one")
                shape = rgb.shape
                yield rate, rgb
        except FFmpegError as error:
            raise CorruptFileError(f"{path}: damaged: {error.strerror}") from error
