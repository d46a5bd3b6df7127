"""The H.264 encoders that decoded pictures are written with."""

import os
from collections.abc import Callable
from fractions import Fraction
from typing import Literal

import av
from av.codec.context import Flags
from av.container import OutputContainer
from av.video.stream import VideoStream

from pacodec.media import Image, VideoFormat
from pacodec.video.color import YuvConverter, coded_tags, rgb_tags

Codec = Literal["h264", "lossless"]
"""4:2:0 (4:4:4 where a side is odd) at a chosen quality, or RGB kept to the last bit."""

_MAX_THREADS = 8
_PRESET, _PRESET_LOOKAHEAD = "fast", 30
"""What x264 is asked for, and the frames that it then looks ahead."""
_LOOKAHEAD_PIXELS = 10_000_000
"""Pixels of the frames looked ahead, more only in one frame: each takes 4 bytes, as long as they wait."""


def add_video_track(
    output: OutputContainer, format: VideoFormat, codec: Codec, crf: int
) -> tuple[VideoStream, Callable[[Image], av.VideoFrame]]:
    """Add a video track to `output`; returns it, and what turns uint8 [H, W, 3] into the frames that it encodes."""
    to_frame: Callable[[Image], av.VideoFrame]
    if codec == "lossless":
        encoder, quality = "libx264rgb", {"qp": "0"}
        pixel_format, tags = "rgb24", rgb_tags(format.color)
        to_frame = av.VideoFrame.from_ndarray
    else:
        encoder, quality = "libx264", {"crf": str(crf)}
        # 4:2:0 is all that browsers and televisions play, and needs even sides.
        pixel_format = "yuv444p" if format.width % 2 or format.height % 2 else "yuv420p"
        tags = coded_tags(format.color)
        to_frame = YuvConverter(pixel_format, tags)
    # Without B-frames a packet's decoding time is its picture's time: variable frame rates keep each duration, the
    # last one too, and no edit list is needed to hide negative decoding times.
    lookahead = max(1, min(_PRESET_LOOKAHEAD, _LOOKAHEAD_PIXELS // (format.width * format.height)))
    options = {**quality, "preset": _PRESET, "bf": "0", "rc-lookahead": str(lookahead)}
    track = output.add_stream(encoder, rate=format.frame_rate, options=options)
    assert isinstance(track, VideoStream)
    context = track.codec_context
    context.width, context.height, context.pix_fmt = format.width, format.height, pixel_format
    context.time_base = track.time_base = format.time_base
    context.framerate = format.frame_rate or Fraction(0, 1)
    context.color_range, context.colorspace = tags.range, tags.matrix
    context.color_primaries, context.color_trc = tags.primaries, tags.transfer
    context.sample_aspect_ratio = format.pixel_aspect or Fraction(0, 1)
    context.flags |= Flags.frame_duration
    context.thread_type = "FRAME"  # slices would cost bits
    context.thread_count = min(os.cpu_count() or 1, _MAX_THREADS)
    if format.rotation:
        track.set_display_rotation(format.rotation)
    return track, to_frame
