"""Decoded pictures of standard codecs as RGB, by integer arithmetic of our own that shows what FFmpeg shows."""

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from pacodec.common.media import RGB_MATRIX, UNSPECIFIED, Image
from pacodec.container import packing
from pacodec.engine.library import core
from pacodec.errors import CorruptFileError, LimitError
from pacodec.video.color import has_matrix

_SUBSAMPLINGS = {"420": (1, 1), "422": (1, 0), "444": (0, 0)}
_DEPTHS = {"p": 8, "p10le": 10, "p12le": 12}
FORMATS: Mapping[str, tuple[int, int, int]] = {
    f"yuv{name}{suffix}": (depth, *shifts)
    for name, shifts in _SUBSAMPLINGS.items()
    for suffix, depth in _DEPTHS.items()
}
"""FFmpeg's pixel formats that are converted, with the bits of a sample and the log2 of what shares a chroma sample."""
PLANAR_RGB = "gbrp"
"""One more that is RGB already: planes of green, blue, red."""
_FULL = 2
MIDDLE, FIRST, LAST = 128, 0, 256
"""Where a chroma sample lies among the pixels it is shared by."""
LOCATIONS = {(FIRST, MIDDLE): "left", (FIRST, FIRST): "topleft"}
"""FFmpeg's names of the sitings that AV1 can be tagged with."""
_SITINGS = ((MIDDLE, MIDDLE), (FIRST, MIDDLE), (FIRST, FIRST), (MIDDLE, FIRST), (FIRST, LAST), (MIDDLE, LAST))


class _Picture(ctypes.Structure):
    """`pac_picture` of engine/core/colour.h."""

    _fields_ = (
        ("planes", ctypes.c_void_p * 3),
        ("strides", ctypes.c_int64 * 3),
        *((name, ctypes.c_uint32) for name in ("width", "height", "depth", "shift_x", "shift_y")),
        *((name, ctypes.c_uint32) for name in ("matrix", "full_range", "siting_x", "siting_y")),
    )


@dataclass(frozen=True)
class Colour:
    """How the samples of a stream's pictures become RGB.

    `pixel_format` is FFmpeg's name without the j of full range, `matrix` an H.273 code point, `siting` where a chroma
    sample lies across and down (0 first pixel, 128 middle, 256 last), `interlaced` whether rows belong to two fields.
    """

    pixel_format: str
    matrix: int
    full_range: bool
    siting: tuple[int, int] = (MIDDLE, MIDDLE)
    interlaced: bool = False

    def __post_init__(self) -> None:
        if self.pixel_format not in FORMATS and self.pixel_format != PLANAR_RGB:
            raise CorruptFileError(f"the pixel format {self.pixel_format!r} is none of a base layer")
        if not 0 <= self.matrix <= 255 or any(not 0 <= place <= LAST for place in self.siting):
            raise LimitError(f"colour matrix {self.matrix} or chroma siting {self.siting} is out of range")

    @classmethod
    def of(cls, frame: av.VideoFrame) -> "Colour | None":
        """That of a decoded frame, None where its format is not one that is converted here.

        A frame does not tell where its chroma lies: the siting is the one that FFmpeg's own conversion shows.
        """
        name = frame.format.name.replace("yuvj", "yuv")
        if name == PLANAR_RGB:
            return cls(name, RGB_MATRIX, full_range=True)
        if name not in FORMATS or frame.colorspace == RGB_MATRIX:
            return None
        if not has_matrix(frame):
            frame.colorspace = UNSPECIFIED
        full = frame.color_range == _FULL or frame.format.name.startswith("yuvj")
        shown = VideoReformatter().reformat(frame, format="rgb24", threads=1).to_ndarray()
        tried = [cls(name, frame.colorspace, full, siting, frame.interlaced_frame) for siting in _SITINGS]
        return min(tried, key=lambda colour: int(np.abs(colour.rgb(frame).astype(np.int16) - shown).sum()))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Colour":
        """Read what `to_dict` gave from untrusted data; CorruptFileError or LimitError where it is not that."""
        what = "base layer: colour"
        siting = packing.field(values, "siting", list, what)
        if len(siting) != len((MIDDLE, MIDDLE)) or not all(type(place) is int for place in siting):
            raise CorruptFileError(f"{what}: the siting is not a pair of integers")
        return cls(
            pixel_format=packing.field(values, "pixel_format", str, what),
            matrix=packing.field(values, "matrix", int, what),
            full_range=packing.field(values, "full_range", bool, what),
            siting=(siting[0], siting[1]),
            interlaced=packing.field(values, "interlaced", bool, what),
        )

    def to_dict(self) -> dict[str, Any]:
        """Values that msgpack can hold; `from_dict` is the inverse."""
        return {**vars(self), "siting": list(self.siting)}

    def matches(self, frame: av.VideoFrame) -> bool:
        """Whether a frame has the format that this converts."""
        return frame.format.name.replace("yuvj", "yuv") == self.pixel_format

    def rgb(self, frame: av.VideoFrame, out: Image | None = None) -> Image:
        """The picture of a frame, uint8 [H, W, 3], in `out` if that is given (contiguous, of this shape).

        CorruptFileError where the frame is not of this pixel format.
        """
        if not self.matches(frame):
            raise CorruptFileError(f"a picture is {frame.format.name}, not {self.pixel_format}")
        made = np.empty((frame.height, frame.width, 3), np.uint8) if out is None else out
        strides = [plane.line_size for plane in frame.planes]
        if self.pixel_format == PLANAR_RGB:
            for channel, plane, stride in zip((1, 2, 0), frame.planes, strides, strict=True):
                rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, stride)
                made[:, :, channel] = rows[: frame.height, : frame.width]
            return made
        # A field of an interlaced picture is converted by itself, or chroma would mix two moments.
        fields = 2 if self.interlaced and frame.height > 1 else 1
        depth, shift_x, shift_y = FORMATS[self.pixel_format]
        row = 3 * frame.width
        for field in range(fields):
            picture = _Picture(
                planes=(ctypes.c_void_p * 3)(*(plane.buffer_ptr + field * plane.line_size for plane in frame.planes)),
                strides=(ctypes.c_int64 * 3)(*(fields * stride for stride in strides)),
                width=frame.width,
                height=(frame.height + fields - 1 - field) // fields,
                depth=depth,
                shift_x=shift_x,
                shift_y=shift_y,
                matrix=self.matrix,
                full_range=self.full_range,
                siting_x=self.siting[0],
                siting_y=self.siting[1],
            )
            if core().pac_colour_to_rgb(ctypes.byref(picture), made.ctypes.data + field * row, fields * row):
                raise LimitError(f"pictures of {frame.width}x{frame.height} cannot be converted")
        return made
