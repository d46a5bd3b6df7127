"""Conversion between RGB pictures and FFmpeg's frames, with the matrix and range that a file is tagged with."""

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from pacodec.media import RGB_MATRIX, UNSPECIFIED, ColorTags, Image

# swscale's defaults are fast and off by several levels; with these its result is the rounded exact one.
_ACCURATE = (
    Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
)
# 4:2:0 and 4:2:2 have no exact result: chroma between its samples is a guess. This one, which repeats them, is what
# FFmpeg, PyAV and OpenCV show by default, so that pictures compare equal to theirs; and RGB gives it back unchanged.
_USUAL = Interpolation.BILINEAR
_SUBSAMPLED = frozenset({"yuv420p", "yuvj420p", "yuv422p", "yuvj422p"})
_BT709 = 1
_LIMITED, _FULL = 1, 2
# The matrices swscale has: RGB, BT.709, FCC, BT.601 (625 and 525 lines), SMPTE 240M, BT.2020 non-constant luminance.
_MATRICES = frozenset({RGB_MATRIX, _BT709, UNSPECIFIED, 4, 5, 6, 7, 9})


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
    """The tags to encode an RGB file with."""
    return ColorTags(_FULL, RGB_MATRIX, source.primaries, source.transfer)


def _h273(code: int) -> int:
    """FFmpeg numbers makers' own colour spaces from 256 on, beyond what H.273 and any file can say."""
    return code if code < 256 else UNSPECIFIED


class RgbConverter:
    """Turns decoded frames of any pixel format and size into RGB pictures, uint8 [height, width, 3]."""

    def __init__(self, width: int, height: int, *, smooth_chroma: bool = False) -> None:
        """`smooth_chroma`: interpolate subsampled chroma instead of repeating it."""
        self._width, self._height = width, height
        self._repeated: frozenset[str] = frozenset() if smooth_chroma else _SUBSAMPLED
        self._scaler = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> Image:
        """The picture of one frame, in new memory; untagged frames are read as FFmpeg reads them (BT.601 limited)."""
        if not has_matrix(frame):
            frame.colorspace = UNSPECIFIED
        same_size = (frame.width, frame.height) == (self._width, self._height)
        interpolation = _USUAL if same_size and frame.format.name in self._repeated else _ACCURATE
        converted = self._scaler.reformat(
            frame, self._width, self._height, "rgb24", interpolation=interpolation, threads=1
        )
        picture = converted.to_ndarray()
        assert picture.dtype == np.uint8
        return picture.astype(np.uint8, copy=False)


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
