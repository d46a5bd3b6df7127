"""Plain data about pictures, their codes, sound and time that pass between video files, the codec and .pac files."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from pacodec import limits
from pacodec.errors import CorruptFileError

if TYPE_CHECKING:
    import av

T = TypeVar("T")

UNSPECIFIED = 2
"""The H.273 code point "unspecified" of matrix, primaries and transfer."""
RGB_MATRIX = 0
"""The H.273 code point of a matrix that leaves RGB alone."""

_INT32_MAX = (1 << 31) - 1
# Half of int64: sums and differences of two time stamps stay inside int64, which FFmpeg computes in.
_MAX_TICKS = 1 << 62
_CODEC = re.compile(r"[a-z0-9_.]{1,32}")
# Names of whole layouts only: FFmpeg's syntax for a list of channels would build a layout that PyAV frees twice.
_LAYOUT = re.compile(r"[a-z0-9.]{1,16}(\([a-z0-9-]{1,16}\))?")
_LANGUAGE = re.compile(r"[A-Za-z0-9-]{1,16}")

Image = NDArray[np.uint8]
"""One RGB picture, uint8 [H, W, 3]."""
Pictures = NDArray[np.uint8]
"""RGB pictures, uint8 [n, H, W, 3]."""


@dataclass(frozen=True)
class ColorTags:
    """What a file says about its colours, as H.273 (and FFmpeg) code points.

    `range` is 0 unspecified, 1 limited, 2 full. In the others 2 is unspecified; matrix 0 is RGB.
    """

    range: int = 0
    matrix: int = UNSPECIFIED
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED

    def __post_init__(self) -> None:
        limits.check("colour range", self.range, 2)
        for name in ("matrix", "primaries", "transfer"):
            limits.check(f"colour {name}", getattr(self, name), 255)

    def to_dict(self) -> dict[str, object]:
        """Values that msgpack can hold; `from_dict` is the inverse."""
        return {"range": self.range, "matrix": self.matrix, "primaries": self.primaries, "transfer": self.transfer}

    @classmethod
    def from_dict(cls, data: object) -> "ColorTags":
        """Read what `to_dict` gave from untrusted data; CorruptFileError or LimitError where it is not that."""
        fields = _mapping(data, "colour tags")
        return cls(*(_get(fields, name, int) for name in ("range", "matrix", "primaries", "transfer")))


@dataclass(frozen=True)
class AudioStream:
    """What a muxer must know to carry the packets of one audio track as they are.

    `codec`, `layout` and `sample_format` are FFmpeg's names, `extradata` the codec's global header, `bit_rate` bits/s
    or 0 where the file does not say.
    """

    codec: str
    time_base: Fraction
    sample_rate: int
    layout: str
    sample_format: str
    extradata: bytes = field(default=b"", repr=False)
    bit_rate: int = 0
    language: str | None = None

    def __post_init__(self) -> None:
        _check_time_base(self.time_base, "audio time base")
        limits.check("audio sample rate", self.sample_rate, _INT32_MAX, least=1)
        limits.check("audio bit rate", self.bit_rate, _INT32_MAX)
        limits.check("audio extradata size", len(self.extradata), limits.MAX_HEADER_BYTES)
        for value, pattern, name in (
            (self.codec, _CODEC, "audio codec"),
            (self.layout, _LAYOUT, "audio channel layout"),
            (self.sample_format, _CODEC, "audio sample format"),
            ("und" if self.language is None else self.language, _LANGUAGE, "audio language"),
        ):
            if not pattern.fullmatch(value):
                raise CorruptFileError(f"{name} {value!r} is not a name")

    def to_dict(self) -> dict[str, object]:
        """Values that msgpack can hold; `from_dict` is the inverse."""
        return {
            "codec": self.codec,
            "time_base": _pair(self.time_base),
            "sample_rate": self.sample_rate,
            "layout": self.layout,
            "sample_format": self.sample_format,
            "extradata": self.extradata,
            "bit_rate": self.bit_rate,
            "language": self.language,
        }

    @classmethod
    def from_dict(cls, data: object) -> "AudioStream":
        """Read what `to_dict` gave from untrusted data; CorruptFileError or LimitError where it is not that."""
        fields = _mapping(data, "audio stream")
        return cls(
            codec=_get(fields, "codec", str),
            time_base=_fraction(fields, "time_base"),
            sample_rate=_get(fields, "sample_rate", int),
            layout=_get(fields, "layout", str),
            sample_format=_get(fields, "sample_format", str),
            extradata=_get(fields, "extradata", bytes),
            bit_rate=_get(fields, "bit_rate", int),
            language=None if fields.get("language") is None else _get(fields, "language", str),
        )


@dataclass(frozen=True)
class VideoFormat:
    """What holds for every frame of a video, and its audio tracks.

    `width` and `height` are those of the stored pictures, to be shown turned by `rotation` degrees counter-clockwise.
    `pixel_aspect` is width over height of a pixel, None where square or unknown; `frame_rate` is an average. `array` is
    the shape of the arrays that the pictures stand for, see `pacodec.common.layout`; None where they are only pictures.
    """

    width: int
    height: int
    time_base: Fraction
    frame_rate: Fraction | None = None
    pixel_aspect: Fraction | None = None
    rotation: int = 0
    color: ColorTags = field(default_factory=ColorTags)
    audio: tuple[AudioStream, ...] = ()
    array: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        limits.check("width", self.width, limits.MAX_SIDE, least=1)
        limits.check("height", self.height, limits.MAX_SIDE, least=1)
        limits.check("pixels of a frame", self.width * self.height, limits.MAX_PIXELS)
        limits.check("rotation", self.rotation, 360, least=-360)
        limits.check("number of audio tracks", len(self.audio), limits.MAX_AUDIO_STREAMS)
        _check_time_base(self.time_base, "time base")
        for value, name in ((self.frame_rate, "frame rate"), (self.pixel_aspect, "pixel aspect")):
            if value is not None:
                _check_time_base(value, name)

    def to_dict(self) -> dict[str, object]:
        """Values that msgpack can hold; `from_dict` is the inverse."""
        array = {} if self.array is None else {"array": list(self.array)}
        return {
            "width": self.width,
            "height": self.height,
            "time_base": _pair(self.time_base),
            "frame_rate": None if self.frame_rate is None else _pair(self.frame_rate),
            "pixel_aspect": None if self.pixel_aspect is None else _pair(self.pixel_aspect),
            "rotation": self.rotation,
            "color": self.color.to_dict(),
            "audio": [stream.to_dict() for stream in self.audio],
            **array,
        }

    @classmethod
    def from_dict(cls, data: object) -> "VideoFormat":
        """Read what `to_dict` gave from untrusted data; CorruptFileError or LimitError where it is not that."""
        fields = _mapping(data, "video format")
        audio = _get(fields, "audio", list)
        limits.check("number of audio tracks", len(audio), limits.MAX_AUDIO_STREAMS)
        return cls(
            width=_get(fields, "width", int),
            height=_get(fields, "height", int),
            time_base=_fraction(fields, "time_base"),
            frame_rate=None if fields.get("frame_rate") is None else _fraction(fields, "frame_rate"),
            pixel_aspect=None if fields.get("pixel_aspect") is None else _fraction(fields, "pixel_aspect"),
            rotation=_get(fields, "rotation", int),
            color=ColorTags.from_dict(fields.get("color")),
            audio=tuple(AudioStream.from_dict(stream) for stream in audio),
            array=None if fields.get("array") is None else _shape(_get(fields, "array", list)),
        )


@dataclass(frozen=True)
class AudioPacket:
    """One encoded packet of the audio track `VideoFormat.audio[stream]`; times are in that track's time base."""

    stream: int
    pts: int
    dts: int
    duration: int
    keyframe: bool
    data: bytes = field(repr=False)

    def __post_init__(self) -> None:
        limits.check("audio track number", self.stream, limits.MAX_AUDIO_STREAMS - 1)
        limits.check("audio pts", self.pts, _MAX_TICKS, least=-_MAX_TICKS)
        limits.check("audio dts", self.dts, _MAX_TICKS, least=-_MAX_TICKS)
        limits.check("audio packet duration", self.duration, _MAX_TICKS)
        limits.check("audio packet size", len(self.data), limits.MAX_AUDIO_BYTES, least=1)


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture, uint8 [H, W, 3], shown from `pts` for `duration`, both in the video's time base.

    `native` is FFmpeg's frame, where it is of this size and holds nothing that the picture does not show.
    """

    rgb: Image = field(repr=False)
    pts: int
    duration: int
    native: "av.VideoFrame | None" = field(default=None, repr=False)


class EncoderInput(Protocol):
    """Where an encoder's frames come from, once and in order."""

    @property
    def format(self) -> VideoFormat:
        """What holds for all of it."""

    @property
    def frames_hint(self) -> int | None:
        """How many frames there will be, about; None where nobody knows."""

    @property
    def source_bytes(self) -> int | None:
        """Bytes of the file or files, None for a stream."""

    @property
    def warnings(self) -> list[str]:
        """What is wrong with it or not carried over, a line each; complete when iteration ends."""

    def __iter__(self) -> Iterator[Frame | AudioPacket]:
        """Frames and audio packets; to be iterated once."""


def _check_time_base(value: Fraction, name: str) -> None:
    if value <= 0:
        raise CorruptFileError(f"{name} {value} is not positive")
    limits.check(f"numerator of the {name}", value.numerator, _INT32_MAX)
    limits.check(f"denominator of the {name}", value.denominator, _INT32_MAX)


def _pair(value: Fraction) -> list[int]:
    return [value.numerator, value.denominator]


def _shape(values: list[object]) -> tuple[int, ...]:
    sizes = tuple(value for value in values if type(value) is int and 0 < value <= limits.MAX_PIXELS)
    if len(sizes) != len(values) or len(sizes) > limits.MAX_DIMENSIONS or math.prod(sizes) > 3 * limits.MAX_PIXELS:
        raise CorruptFileError("field 'array' is not the shape of arrays that pictures show")
    return sizes


def _mapping(data: object, name: str) -> Mapping[object, object]:
    if not isinstance(data, Mapping):
        raise CorruptFileError(f"{name}: a map is wanted, not {type(data).__name__}")
    return data


def _get(fields: Mapping[object, object], name: str, kind: type[T]) -> T:
    value = fields.get(name)
    # bool is an int to Python, but not to a format that keeps the two apart.
    if not isinstance(value, kind) or isinstance(value, bool):
        raise CorruptFileError(f"field {name!r}: {kind.__name__} is wanted, not {type(value).__name__}")
    return value


def _fraction(fields: Mapping[object, object], name: str) -> Fraction:
    match _get(fields, name, list):
        case [int(num), int(den)] if 0 < num <= _INT32_MAX and 0 < den <= _INT32_MAX and math.gcd(num, den) == 1:
            return Fraction(num, den)
    raise CorruptFileError(f"field {name!r} is not a positive fraction in lowest terms")


Grids = NDArray[np.uint8]
"""Codes of n frames, uint8 [n, C, h, w]."""


@dataclass(frozen=True)
class GridSpec:
    """Shape and nature of a code grid.

    `ordinal` says that neighbouring code values mean similar things (quantized latents); otherwise a code is a bare
    label (palette indices).
    """

    channels: int
    height: int
    width: int
    ordinal: bool

    @property
    def size(self) -> int:
        """The number of codes of one frame."""
        return self.channels * self.height * self.width
