"""What writing a video loses of its pictures: measured on what a reader of the file will see."""

from __future__ import annotations  # av.Packet is generic to a type checker only

from collections.abc import Sequence
from typing import Protocol

import av
from av.error import FFmpegError
from av.packet import Packet
from av.video.stream import VideoStream

from pacodec.common.media import Image
from pacodec.common.metrics import Distortion
from pacodec.video.color import RgbConverter

_SAMPLED = 8
"""Of coded pictures every so many are compared; those in between are decoded, but not converted."""


class Loss(Protocol):
    """Holds written pictures against what they were."""

    distortion: Distortion
    """Of all the pictures that were compared."""
    complete: bool
    """Whether that is all of them."""

    def add(self, number: int, rgb: Image, frame: av.VideoFrame, packets: list[Packet[VideoStream]]) -> None:
        """One picture, uint8 [H, W, 3], the frame made of it, and the packets that its encoder gave back then."""

    def finish(self, packets: list[Packet[VideoStream]]) -> None:
        """The last packets of the encoder."""


class NoLoss:
    """The loss of an output that is exact by construction."""

    complete = True

    def __init__(self) -> None:
        self.distortion = Distortion()

    def add(self, number: int, rgb: Image, frame: av.VideoFrame, packets: list[Packet[VideoStream]]) -> None:
        """Do nothing: the output is exact."""

    def finish(self, packets: list[Packet[VideoStream]]) -> None:
        """Do nothing: the output is exact."""


class ConversionLoss(NoLoss):
    """Of frames that are stored exactly, but are not quite the pictures."""

    def __init__(self, width: int, height: int) -> None:
        super().__init__()
        self._to_rgb = RgbConverter(width, height)

    def add(self, number: int, rgb: Image, frame: av.VideoFrame, packets: list[Packet[VideoStream]]) -> None:
        """Compare the picture with its frame."""
        self.distortion += Distortion.of(rgb[None], self._to_rgb(frame)[None])


class CodingLoss(NoLoss):
    """Of frames that are coded as H.264 without reordering: some of them are compared after decoding."""

    def __init__(self, width: int, height: int, encoder: av.VideoCodecContext) -> None:
        super().__init__()
        self.complete = False
        self._to_rgb, self._encoder = RgbConverter(width, height), encoder
        self._decoder: av.VideoCodecContext | None = None
        self._waiting: dict[int, Image] = {}
        self._decoded = 0

    def add(self, number: int, rgb: Image, frame: av.VideoFrame, packets: list[Packet[VideoStream]]) -> None:
        """Remember the picture if it is one of those, and compare the pictures that the packets complete."""
        if number % _SAMPLED == 0:
            self._waiting[number] = rgb
        self._decode(packets)

    def finish(self, packets: list[Packet[VideoStream]]) -> None:
        self._decode([*packets, None])

    def _decode(self, packets: Sequence[Packet[VideoStream] | None]) -> None:
        for packet in packets:
            if self._decoder is None:
                decoder = av.CodecContext.create("h264", "r")
                assert isinstance(decoder, av.VideoCodecContext)
                decoder.extradata = self._encoder.extradata
                decoder.thread_count = 1  # each holds pictures of its own
                self._decoder = decoder
            try:
                frames = self._decoder.decode(packet)
            except FFmpegError:
                continue  # a report on quality is not worth a failure
            for frame in frames:
                rgb = self._waiting.pop(self._decoded, None)
                if rgb is not None:
                    self.distortion += Distortion.of(rgb[None], self._to_rgb(frame)[None])
                self._decoded += 1
