"""Where decoded pictures go: a video, an animated image, a picture a frame, or standard output; whole or not there."""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image as Picture

from pacodec.common.files import STANDARD_STREAM, check_target, failing, hidden_name, replacing, unfinished
from pacodec.common.media import AudioPacket, Image, VideoFormat
from pacodec.common.metrics import Distortion
from pacodec.errors import FileAccessError, UsageError
from pacodec.video.encoders import VideoCodec
from pacodec.video.sequence import existing, is_numbered, numbered
from pacodec.video.writer import VideoWriter, form_of

_PICTURES = (".png", ".bmp")
_FIRST = 1
"""The number of a sequence's first picture."""


class Output(Protocol):
    """Takes the pictures and sound of a video."""

    format: VideoFormat
    """What is written: without the audio tracks that the kind of file cannot hold."""
    notes: list[str]
    """What it cannot hold of the video, a line each; complete when everything is written."""

    @property
    def exact(self) -> bool:
        """Whether every picture so far comes back as it was, for certain."""

    @property
    def distortion(self) -> Distortion:
        """Of the pictures that were held against what a reader will see."""

    def write_frame(self, rgb: Image, pts: int, duration: int) -> None:
        """One picture, uint8 [H, W, 3], shown from `pts` for `duration` ticks of the video's time base."""

    def write_audio(self, packet: AudioPacket) -> None:
        """One packet of a track of `format.audio`."""


class SequenceWriter:
    """Writes each picture to a file of its own, numbered from 1, as it is to be shown (see `Output`)."""

    def __init__(self, pattern: str, format: VideoFormat) -> None:
        self._name, self._format = numbered(pattern), format
        self.format = VideoFormat(format.width, format.height, format.time_base, format.frame_rate)
        self.exact, self.distortion, self.files = True, Distortion(), 0
        self.notes = ["a sequence of pictures keeps neither times nor sound"]
        self._turns = format.rotation // 90 % 4

    def write_frame(self, rgb: Image, pts: int, duration: int) -> None:
        """One picture, uint8 [H, W, 3]. FileAccessError where it cannot be written."""
        path, data = Path(self._name(_FIRST + self.files)), io.BytesIO()
        Picture.fromarray(np.ascontiguousarray(np.rot90(rgb, self._turns))).save(data, path.suffix[1:])
        try:
            path.write_bytes(data.getbuffer())  # Pillow does not notice where a file takes a part only
        except OSError as error:
            raise FileAccessError(f"cannot write: {error.strerror or error}") from error
        self.files += 1

    def write_audio(self, packet: AudioPacket) -> None:
        """Do nothing: these files have no place for sound."""


def check_output(target: str, container: str | None, *, overwrite: bool, sources: tuple[str, ...]) -> None:
    """Refuse early what would fail late, in terms of what the user wrote.

    Raises UsageError for a suffix or container that is not known, or a target that is a source, FileAccessError for a
    target that is there already (unless `overwrite`) or cannot be written.
    """
    if target == STANDARD_STREAM:
        form_of(sys.stdout.buffer, container or "mp4")
    elif container is None and is_numbered(target):
        if Path(target).suffix.lower() not in _PICTURES:
            raise UsageError(f"{target}: sequences of pictures are written as {' or '.join(_PICTURES)}")
        there = existing(target)
        for path in there.values():
            check_target(str(path), overwrite=overwrite, sources=sources)
        check_target(str(numbered(target)(_FIRST)), overwrite=overwrite, sources=sources)
    else:
        check_target(target, overwrite=overwrite, sources=sources)
        form_of(target, container)


@contextmanager
def writing_video(
    target: str, format: VideoFormat, *, container: str | None = None, codec: VideoCodec = "h264", crf: int = 18
) -> Iterator[Output]:
    """Write a video to what `check_output` let pass; it appears when the block ends well, or not at all.

    Raises:
        UsageError: unknown container, codec or crf, or the container cannot hold the audio.
        FileAccessError: the target cannot be written.
    """
    if target == STANDARD_STREAM:
        with VideoWriter(sys.stdout.buffer, format, container=container or "mp4", codec=codec, crf=crf) as writer:
            yield writer
    elif container is None and is_numbered(target):
        with _replacing_sequence(target) as part:
            yield SequenceWriter(part, format)
    else:
        with replacing(target) as path, VideoWriter(path, format, container=container, codec=codec, crf=crf) as writer:
            yield writer


def output_bytes(target: str) -> int | None:
    """Bytes of a written file or sequence; None for standard output."""
    if target == STANDARD_STREAM:
        return None
    paths = existing(target).values() if is_numbered(target) else [Path(target)]
    return sum(path.stat().st_size for path in paths)


@contextmanager
def _replacing_sequence(pattern: str) -> Iterator[str]:
    """A pattern in a new folder, whose files take the place of all of the given pattern when the block ends well."""
    name = numbered(pattern)
    folder = name(0).parent
    with unfinished(folder / hidden_name("pictures")) as part, failing(pattern):
        part.mkdir(mode=0o700)
        yield str(part / Path(pattern).name)
        for path in existing(pattern).values():
            path.unlink()
        for path in part.iterdir():
            path.replace(folder / path.name)
