"""How good decoded frames are (PSNR, SSIM and MS-SSIM in RGB), and RGB pictures as the planes that an encoder takes.

Planes of YUV are BT.709 of limited range.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from pacodec.common.media import ColorTags, Image, Pictures
from pacodec.common.metrics import LOSSLESS_PSNR, Distortion, psnr, similarity
from pacodec.video.color import RgbConverter, YuvConverter, coded_tags, rgb_tags

SIMILARITY_FRAMES = 120
"""SSIM and MS-SSIM are taken on at most so many frames of a clip, evenly spread."""


@dataclass(frozen=True)
class Quality:
    """What `measure` found: `squared_error` of each frame is the mean over its RGB values, 255 squared at most."""

    squared_error: list[float]
    ssim: list[float]
    ms_ssim: list[float]

    @property
    def exact(self) -> bool:
        """Whether every value came back exactly."""
        return not any(self.squared_error)

    @property
    def frame_psnr(self) -> NDArray[np.float64]:
        """PSNR in dB of each frame; `LOSSLESS_PSNR` at most, so that means stay finite."""
        errors = np.array(self.squared_error)
        with np.errstate(divide="ignore"):
            return np.asarray(np.minimum(10 * np.log10(255**2 / errors), LOSSLESS_PSNR), np.float64)

    @property
    def psnr(self) -> float:
        """Mean over frames of each frame's PSNR, in dB."""
        return float(self.frame_psnr.mean())

    @property
    def distortion(self) -> Distortion:
        """The error pooled over all frames, which bad frames weigh on more, and that of the worst one."""
        return Distortion(len(self.squared_error), sum(self.squared_error), max(self.squared_error))


def measure(originals: Iterable[Image], decoded: Iterable[Image], *, stride: int = 1) -> Quality:
    """Compare frames, uint8 [H, W, 3] each; ValueError where one has more of them than the other.

    Errors are of every frame, similarities of every `stride`-th: they cost as much as a fast encoder. MS-SSIM takes as
    many scales as the window fits into (4 at 160x200, with their weights made to sum to 1); both are the mean over the
    three channels. VMAF is left out: its model judges television pictures, and PyAV's FFmpeg lacks it.
    """
    errors: list[float] = []
    similarities: list[tuple[float, float]] = []
    for number, (original, picture) in enumerate(zip(originals, decoded, strict=True)):
        if original.shape != picture.shape:
            raise ValueError(f"a picture of shape {picture.shape} for one of {original.shape}")
        difference = original.astype(np.int32) - picture
        errors.append(float(np.square(difference).mean()))
        if number % stride == 0:
            similarities.append(similarity(original, picture) if errors[-1] else (1.0, 1.0))
    ssim, ms_ssim = zip(*similarities, strict=True)
    return Quality(errors, list(ssim), list(ms_ssim))


RGB_FORMATS = ("rgb24", "gbrp", "bgr0")
PROBED_FRAMES = 8
Chroma = Literal["nearest", "bicubic"]
"""How 4:2:0 chroma becomes RGB and back: FFmpeg's default, which repeats samples, or exactly rounded bicubic."""


def tags_of(pixel_format: str) -> ColorTags:
    """The colour tags that frames of a pixel format are encoded with."""
    source = rgb_tags(ColorTags())
    return source if pixel_format in RGB_FORMATS else coded_tags(source)


class Planes:
    """Converts for one encoder; `chroma` says how where its pixel format has less chroma than luma."""

    def __init__(self, pixel_format: str, chroma: Chroma) -> None:
        self.pixel_format, self.tags, self.chroma = pixel_format, tags_of(pixel_format), chroma
        self._scaler, self._accurate = VideoReformatter(), YuvConverter(pixel_format, self.tags)
        self._to_rgb: RgbConverter | None = None

    def to_frame(self, rgb: Image) -> av.VideoFrame:
        """The encoder's frame of a picture, uint8 [H, W, 3]."""
        if self.pixel_format in RGB_FORMATS:
            return self._scaler.reformat(av.VideoFrame.from_ndarray(rgb, format="rgb24"), format=self.pixel_format)
        if self.chroma == "bicubic":
            return self._accurate(rgb)
        picture = av.VideoFrame.from_ndarray(rgb, format="rgb24")
        return self._scaler.reformat(picture, format=self.pixel_format, dst_colorspace=self.tags.matrix)

    def to_rgb(self, frame: av.VideoFrame) -> Image:
        """The picture of a decoded frame, uint8 [H, W, 3]."""
        frame.colorspace, frame.color_range = self.tags.matrix, self.tags.range
        if self.pixel_format in RGB_FORMATS or self.chroma == "nearest":
            return frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
        self._to_rgb = self._to_rgb or RgbConverter(frame.width, frame.height, smooth_chroma=True)
        return self._to_rgb(frame)


def better_chroma(pixel_format: str, pictures: Pictures) -> Chroma:
    """The way of converting that costs a peer less: 4:2:0 footage comes back best the way it was made.

    Compared on a few pictures, of uint8 [n, H, W, 3] from all over the footage.
    """
    sample = pictures[:: -(-len(pictures) // PROBED_FRAMES)]

    def kept(chroma: Chroma) -> float:
        planes = Planes(pixel_format, chroma)
        return float(psnr(sample, np.stack([planes.to_rgb(planes.to_frame(rgb)) for rgb in sample])).mean())

    ways: tuple[Chroma, ...] = get_args(Chroma)
    return max(ways, key=kept)
