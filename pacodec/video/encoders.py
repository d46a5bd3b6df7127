"""How decoded pictures are written: H.264 for players, exact forms for those who go on working with them.

What that loses of them is measured on what a reader of the file will see.
"""

from __future__ import annotations  # av.Packet is generic to a type checker only

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import av
import numpy as np
from av.codec.context import Flags
from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.stream import VideoStream
from PIL import Image as Picture

from pacodec.common.media import ColorTags, Image, VideoFormat
from pacodec.common.metrics import Distortion
from pacodec.common.pixels import MAX_COLOURS, pack_colours, unpack_colours
from pacodec.video.color import RgbConverter, YuvConverter, coded_tags, rgb_tags
from pacodec.video.source import DEFAULT_RATE

VideoCodec = Literal["h264", "lossless"]
"""H.264: 4:2:0 (4:4:4 where a side is odd) at a chosen quality, or RGB to the last bit, which browsers play too."""

_MAX_THREADS = 8
_PRESET, _PRESET_LOOKAHEAD = "fast", 30
"""What x264 is asked for, and the frames that it then looks ahead."""
_LOOKAHEAD_PIXELS = 10_000_000
"""Pixels of the frames looked ahead, more only in one frame: each takes 4 bytes, as long as they wait."""
_UNTAGGED = ColorTags(range=1, matrix=6, primaries=2, transfer=2)
"""What readers take YUV for that comes without tags: BT.601, limited range."""

ToFrame = Callable[[Image], av.VideoFrame]
"""Turns a picture, uint8 [H, W, 3], into the frame that an encoder takes."""


@dataclass(frozen=True)
class Form:
    """A kind of file.

    Args:
        muxer: FFmpeg's name of it.
        video: whether it is for players: H.264, with sound, turned pictures and colour tags.
        muxer_options: of FFmpeg's muxer.
        time_base: seconds of a tick in which it keeps time, None for those of the video.
        exact: whether it holds any RGB picture exactly (one for players does with the codec "lossless").
        steady: whether it knows but one frame rate, and no times.
    """

    muxer: str
    video: bool = False
    muxer_options: tuple[tuple[str, str], ...] = ()
    time_base: Fraction | None = None
    exact: bool = False
    steady: bool = False


FORMS = {
    ".mp4": Form("mp4", video=True),
    ".m4v": Form("mp4", video=True),
    ".mov": Form("mov", video=True),
    ".mkv": Form("matroska", video=True),
    ".gif": Form("gif", time_base=Fraction(1, 100)),
    ".webp": Form("webp", muxer_options=(("loop", "0"),), time_base=Fraction(1, 1000), exact=True),
    ".apng": Form("apng", muxer_options=(("plays", "0"),), exact=True),
    ".y4m": Form("yuv4mpegpipe", steady=True),
}
"""By suffix."""


def add_video_track(
    output: OutputContainer, form: Form, format: VideoFormat, codec: VideoCodec, crf: int
) -> tuple[VideoStream, ToFrame]:
    """Add the video track to `output`; returns it, and what turns pictures into the frames that it encodes."""
    encoder, pixel_format, options, tags, to_frame = _encoding(form, format, codec, crf)
    track = output.add_stream(encoder, rate=format.frame_rate, options=options)
    assert isinstance(track, VideoStream)
    context = track.codec_context
    context.width, context.height, context.pix_fmt = format.width, format.height, pixel_format
    context.time_base = track.time_base = tick(form, format)
    context.framerate = format.frame_rate or Fraction(0, 1)
    context.color_range, context.colorspace = tags.range, tags.matrix
    context.color_primaries, context.color_trc = tags.primaries, tags.transfer
    context.sample_aspect_ratio = format.pixel_aspect or Fraction(0, 1)
    context.flags |= Flags.frame_duration
    context.thread_type = "FRAME"  # slices would cost bits
    context.thread_count = min(os.cpu_count() or 1, _MAX_THREADS)
    if format.rotation and form.video:
        track.set_display_rotation(format.rotation)
    return track, to_frame


def tick(form: Form, format: VideoFormat) -> Fraction:
    """Seconds of a tick of the times that a form keeps for a video."""
    return form.time_base or (1 / (format.frame_rate or DEFAULT_RATE) if form.steady else format.time_base)


def _encoding(
    form: Form, format: VideoFormat, codec: VideoCodec, crf: int
) -> tuple[str, str, dict[str, str], ColorTags, ToFrame]:
    """FFmpeg's encoder, its pixel format and options, the tags of the colours, and what makes the frames."""
    rgb = rgb_tags(format.color)
    match form.muxer:
        case "gif":
            return "gif", "pal8", {}, rgb, _Paletted()
        case "webp":
            return "libwebp_anim", "bgra", {"lossless": "1"}, rgb, _with_alpha
        case "apng":
            return "apng", "rgb24", {}, rgb, _as_it_is
        case "yuv4mpegpipe":
            return "rawvideo", "yuv444p", {}, _UNTAGGED, YuvConverter("yuv444p", _UNTAGGED)
    # Without B-frames a packet's decoding time is its picture's time: variable frame rates keep each duration, the
    # last one too, and no edit list is needed to hide negative decoding times.
    lookahead = max(1, min(_PRESET_LOOKAHEAD, _LOOKAHEAD_PIXELS // (format.width * format.height)))
    options = {"preset": _PRESET, "bf": "0", "rc-lookahead": str(lookahead)}
    if codec == "lossless":
        return "libx264rgb", "rgb24", {"qp": "0", **options}, rgb, _as_it_is
    # 4:2:0 is all that televisions play, and needs even sides.
    pixel_format = "yuv444p" if format.width % 2 or format.height % 2 else "yuv420p"
    tags = coded_tags(format.color)
    return "libx264", pixel_format, {"crf": str(crf), **options}, tags, YuvConverter(pixel_format, tags)


def _as_it_is(rgb: Image) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(rgb, format="rgb24")


def _with_alpha(rgb: Image) -> av.VideoFrame:
    opaque = np.full((*rgb.shape[:2], 1), 255, np.uint8)
    return av.VideoFrame.from_ndarray(np.concatenate([rgb[:, :, ::-1], opaque], 2), format="bgra")


class _Paletted:
    """Turns pictures into frames of 256 colours: exactly where a picture has no more, else with those of an octree.

    Colours keep their places from frame to frame as long as there is room, so that most frames share a palette.
    """

    def __init__(self) -> None:
        self._index = np.full(1 << 24, -1, np.int16)
        self._known = np.empty(0, np.uint32)

    def __call__(self, rgb: Image) -> av.VideoFrame:
        """The frame of one picture, uint8 [H, W, 3]."""
        packed = pack_colours(rgb)
        indices = self._index[packed]
        if int(indices.min()) < 0:
            new = np.unique(packed[indices < 0])
            if len(self._known) + len(new) > MAX_COLOURS:
                new = np.unique(packed)
                self._forget()
            if len(new) > MAX_COLOURS:
                return self._reduced(rgb)
            self._index[new] = np.arange(len(self._known), len(self._known) + len(new))
            self._known = np.concatenate([self._known, new])
            indices = self._index[packed]
        return _paletted_frame(indices.astype(np.uint8), unpack_colours(self._known))

    def _forget(self) -> None:
        self._index[self._known] = -1
        self._known = self._known[:0]

    @staticmethod
    def _reduced(rgb: Image) -> av.VideoFrame:
        picture = Picture.fromarray(rgb).quantize(
            MAX_COLOURS, method=Picture.Quantize.FASTOCTREE, dither=Picture.Dither.NONE
        )
        palette = np.array(picture.getpalette(), np.uint8).reshape(-1, 3)
        return _paletted_frame(np.asarray(picture), palette)


def _paletted_frame(indices: Image, colours: Image) -> av.VideoFrame:
    """Indices uint8 [H, W] of colours uint8 [K, 3]."""
    palette = np.zeros((MAX_COLOURS, 4), np.uint8)
    palette[:, 0] = 255  # opaque
    palette[: len(colours), 1:] = colours
    return av.VideoFrame.from_ndarray((indices, palette), format="pal8")  # type: ignore[arg-type] # PyAV declares no pair


_SAMPLED = 8
"""Of coded pictures every so many are compared; those in between are decoded, but not converted."""


class Loss:
    """Holds written pictures against what they were; this one is that of an output that is exact by construction."""

    complete = True
    """Whether all of the pictures are compared."""

    def __init__(self) -> None:
        self.distortion = Distortion()
        """Of all the pictures that were compared."""

    def add(self, number: int, rgb: Image, frame: av.VideoFrame, packets: list[Packet[VideoStream]]) -> None:
        """One picture, uint8 [H, W, 3], the frame made of it, and the packets that its encoder gave back then."""

    def finish(self, packets: list[Packet[VideoStream]]) -> None:
        """The last packets of the encoder."""


class ConversionLoss(Loss):
    """Of frames that are stored exactly, but are not quite the pictures."""

    def __init__(self, width: int, height: int) -> None:
        super().__init__()
        self._to_rgb = RgbConverter(width, height)

    def add(self, number: int, rgb: Image, frame: av.VideoFrame, packets: list[Packet[VideoStream]]) -> None:
        """Compare the picture with its frame."""
        self.distortion += Distortion.of(rgb[None], self._to_rgb(frame)[None])


class CodingLoss(Loss):
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
