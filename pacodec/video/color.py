"""Conversion between RGB pictures and FFmpeg's frames, with the matrix and range that a file is tagged with."""

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from pacodec.common.media import RGB_MATRIX, UNSPECIFIED, ColorTags, Image

# With these the result of swscale is the rounded exact one, and chroma between its samples is interpolated smoothly.
_ACCURATE = (
    Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
)
# Subsampled chroma has no exact result: between its samples it is a guess. This one is what PyAV shows by default (and
# FFmpeg and OpenCV, but for vertical filters of 10-bit 4:2:0), so that pictures compare equal to theirs.
_USUAL = Interpolation.BILINEAR
_BT709, _SRGB = 1, 13
_LIMITED, _FULL = 1, 2
# The matrices swscale has: RGB, BT.709, FCC, BT.601 (625 and 525 lines), SMPTE 240M, BT.2020 non-constant luminance.
_MATRICES = frozenset({RGB_MATRIX, _BT709, UNSPECIFIED, 4, 5, 6, 7, 9})
_HDR = {16: "PQ", 18: "HLG"}
_GROUND = 255
"""The level of R, G and B that transparent pixels are composed on: white, as a page in a browser is."""


def color_tags(frame: av.VideoFrame) -> ColorTags:
    """The tags of a decoded frame; matrix `RGB_MATRIX` if its pixels are RGB, unspecified if swscale lacks it."""
    if frame.format.is_rgb or frame.format.has_palette:
        matrix = RGB_MATRIX
    else:
        matrix = frame.colorspace if has_matrix(frame) else UNSPECIFIED
    return ColorTags(frame.color_range, matrix, _h273(frame.color_primaries), _h273(frame.color_trc))


def has_matrix(frame: av.VideoFrame) -> bool:
    """Whether the frame can be converted with the matrix that it is tagged with."""
    return frame.colorspace in _MATRICES


def has_alpha(frame: av.VideoFrame) -> bool:
    """Whether the pixel format can say that a pixel is transparent."""
    return frame.format.has_palette or any(component.is_alpha for component in frame.format.components)


def color_losses(frame: av.VideoFrame) -> list[str]:
    """What 8-bit RGB does not keep of a frame's colours, a line each."""
    losses = []
    if not has_matrix(frame):
        losses.append(f"colour matrix {frame.colorspace} is not supported: read as BT.601")
    bits = max(component.bits for component in frame.format.components)
    hdr = _HDR.get(frame.color_trc)
    if hdr is not None:
        losses.append(f"HDR ({hdr}): its levels are kept as they are, without tone mapping, and its tags")
    if bits > 8:
        losses.append(f"samples of {bits} bits become 8")
    return losses


def coded_tags(source: ColorTags) -> ColorTags:
    """The tags to encode a YUV file with: the source's own, or BT.709 limited where that was RGB."""
    if source.matrix != RGB_MATRIX and source.matrix in _MATRICES:
        return source
    return ColorTags(
        range=_LIMITED,
        matrix=_BT709,
        primaries=_BT709 if source.primaries == UNSPECIFIED else source.primaries,
        transfer=_BT709 if source.transfer == UNSPECIFIED else source.transfer,
    )


def rgb_tags(source: ColorTags) -> ColorTags:
    """The tags to encode an RGB file with: sRGB where the source does not say, else Chromium takes RGB for YUV."""
    return ColorTags(
        range=_FULL,
        matrix=RGB_MATRIX,
        primaries=_BT709 if source.primaries == UNSPECIFIED else source.primaries,
        transfer=_SRGB if source.transfer == UNSPECIFIED else source.transfer,
    )


def _h273(code: int) -> int:
    """FFmpeg numbers makers' own colour spaces from 256 on, beyond what H.273 and any file can say."""
    return code if code < 256 else UNSPECIFIED


class RgbConverter:
    """Turns decoded frames of any pixel format and size into RGB pictures, uint8 [height, width, 3]."""

    def __init__(self, width: int, height: int, *, smooth_chroma: bool = False) -> None:
        """`smooth_chroma`: interpolate subsampled chroma smoothly instead of as PyAV does by default."""
        self.transparent = False
        """Whether a pixel so far was not opaque, and was composed on white."""
        self._width, self._height = width, height
        self._same_size = _ACCURATE if smooth_chroma else _USUAL
        self._scaler = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> Image:
        """The picture of one frame, in new memory; untagged frames are read as FFmpeg reads them (BT.601 limited)."""
        if not has_matrix(frame):
            frame.colorspace = UNSPECIFIED
        alpha = self._convert(frame, "rgba")[:, :, 3] if has_alpha(frame) else None
        picture = self._convert(frame, "rgb24")
        if alpha is None or int(alpha.min()) == 255:
            return picture
        self.transparent = True
        return compose(picture, alpha)

    def _convert(self, frame: av.VideoFrame, pixel_format: str) -> NDArray[np.uint8]:
        same_size = (frame.width, frame.height) == (self._width, self._height)
        interpolation = self._same_size if same_size else _ACCURATE
        converted = self._scaler.reformat(
            frame, self._width, self._height, pixel_format, interpolation=interpolation, threads=1
        )
        picture = converted.to_ndarray()
        assert picture.dtype == np.uint8
        return picture.astype(np.uint8, copy=False)


def compose(rgb: Image, alpha: NDArray[np.uint8]) -> Image:
    """What is seen of colours uint8 [H, W, 3] with opacities uint8 [H, W] (255: opaque) on a white ground, rounded."""
    weight = alpha[:, :, None].astype(np.uint32)
    seen = (rgb * weight + _GROUND * (255 - weight) + 127) // 255
    return seen.astype(np.uint8)


class YuvConverter:
    """Turns RGB pictures into frames of a YUV pixel format with the matrix and range of `tags`."""

    def __init__(self, pixel_format: str, tags: ColorTags) -> None:
        self._pixel_format, self._tags = pixel_format, tags
        self._scaler = VideoReformatter()

    def __call__(self, rgb: Image) -> av.VideoFrame:
        """The frame of one picture, uint8 [H, W, 3]."""
        return self._scaler.reformat(
            av.VideoFrame.from_ndarray(rgb, format="rgb24"),
            format=self._pixel_format,
            dst_colorspace=self._tags.matrix,
            dst_color_range=self._tags.range,
            interpolation=_ACCURATE,
            threads=1,
        )
