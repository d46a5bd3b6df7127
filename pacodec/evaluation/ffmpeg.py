"""The encoders that PyAV carries."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import av
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext

from pacodec.common.media import Image
from pacodec.evaluation.clips import Clip
from pacodec.evaluation.codecs import Encoded
from pacodec.evaluation.planes import Chroma, Planes

ONE_KEYFRAME = 9999
"""Frames from a keyframe to the next that no clip reaches."""


@dataclass(frozen=True)
class FFmpegCodec:
    """One of FFmpeg's encoders with its options; constant quality, one keyframe, packets counted without container."""

    encoder: str
    decoder: str
    pixel_format: str
    chroma: Chroma
    options: Mapping[str, str]
    threads: int = 1

    def encode(self, clip: Clip) -> Encoded:
        """Code all frames."""
        planes = Planes(self.pixel_format, self.chroma)
        context = cast(VideoCodecContext, av.CodecContext.create(self.encoder, "w"))
        context.width, context.height, context.pix_fmt = clip.width, clip.height, self.pixel_format
        context.time_base, context.framerate = 1 / clip.rate, clip.rate
        context.color_range, context.colorspace = planes.tags.range, planes.tags.matrix
        context.color_primaries, context.color_trc = planes.tags.primaries, planes.tags.transfer
        context.gop_size = max(ONE_KEYFRAME, clip.frames)
        context.thread_count = self.threads
        context.options = dict(self.options)
        packets: list[bytes] = []
        for number, rgb in enumerate(clip.stream()):
            frame = planes.to_frame(rgb)
            frame.pts, frame.time_base = number, context.time_base
            packets += [bytes(packet) for packet in context.encode(frame)]
        packets += [bytes(packet) for packet in context.encode(None)]
        return Encoded(packets)

    def decode(self, clip: Clip, packets: list[bytes]) -> Iterator[Image]:
        """The decoded frames."""
        return decode_packets(self.decoder, Planes(self.pixel_format, self.chroma), packets)

    def identity(self) -> str:
        """PyAV's version, which says those of the encoders in its wheel."""
        return f"{av.__version__} {sorted(av.library_versions.items())}"


def decode_packets(decoder: str, planes: Planes, packets: list[bytes]) -> Iterator[Image]:
    """Decode with one of FFmpeg's decoders."""
    context = cast(VideoCodecContext, av.CodecContext.create(decoder, "r"))
    context.thread_count = 1
    for data in [*packets, None]:
        for frame in context.decode(None if data is None else Packet(data)):
            yield planes.to_rgb(frame)
