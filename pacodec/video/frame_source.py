"""Where frames come from: what every kind of input gives to the reader, whichever library reads it."""

from __future__ import annotations  # av.Packet is generic to a type checker only

from collections.abc import Generator
from fractions import Fraction
from typing import Protocol

import av
from av.packet import Packet
from av.stream import Stream

from pacodec.common.media import AudioStream


class FrameSource(Protocol):
    """An open video, animated image or sequence of pictures, to be read once."""

    name: str
    """What messages call it."""
    warnings: list[str]
    """What is wrong with it or not carried over, a line each; complete when `events` ends."""
    source_bytes: int | None
    """Bytes of the file or files, None for a stream."""
    frames_hint: int | None
    """How many frames it announces or its duration suggests; None where it says nothing."""
    frame_rate: Fraction | None
    """An average in frames/s, None where unknown."""
    time_base: Fraction
    """Seconds of a tick of the frames' time stamps."""
    pixel_aspect: Fraction | None
    """Width over height of a pixel, None where square or unknown."""
    tracks: dict[int, AudioStream]
    """The audio tracks that are carried over, by `stream_index` of their packets."""

    def events(self) -> Generator[av.VideoFrame | Packet[Stream], None, None]:
        """Decoded frames, and packets of the audio tracks, as the file has them.

        Raises FileAccessError where the system cannot read on; what is damaged is skipped, and ends in `warnings`.
        """

    def close(self) -> None:
        """Release what was opened; a file object that was given stays open."""
