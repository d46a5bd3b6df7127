"""GOPs of packets as the rest of the package decodes GOPs: pictures are grids that need no transform."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from pacodec import limits
from pacodec.base_layer.colour import FORMATS
from pacodec.base_layer.stream import (
    AV1,
    HIDDEN,
    CodedStream,
    StoredPacket,
    decoded,
    pack,
    pack_obus,
    streams_of,
    unpack,
    unpack_obus,
)
from pacodec.common.media import Grids, GridSpec, Pictures
from pacodec.container import Component, Gop, Header
from pacodec.errors import CorruptFileError, UnsupportedError
from pacodec.transforms.base import PICTURE

_DECODER_PICTURES = 12
"""Pictures that a decoder keeps, about: references, and those that its threads work on."""
_PADDING = 512
"""Rows and columns, at most, by which decoders may make pictures larger than they are shown."""


def picture_spec(height: int, width: int) -> GridSpec:
    """The grid that is a picture: a channel for each row, as high as that is wide, three values wide."""
    return GridSpec(height, width, 3, ordinal=True)


class PictureGrids:
    """The transform `picture`: a grid is a picture, its channels the rows (see `GridTransform`)."""

    streams = True
    concurrent = False
    exact = True
    pixelwise = False
    model = None
    quantizer = Component("none")

    def __init__(self, height: int, width: int, params: Mapping[str, Any]) -> None:
        """`params`: the streams that the header describes, by coder."""
        self.spec = picture_spec(height, width)
        self.transform = Component(PICTURE, params)

    def analyse(self, pictures: Pictures) -> NDArray[Any]:
        return pictures

    def fit(self, latents: NDArray[Any]) -> dict[str, Any]:
        return {}

    def quantize(self, latents: NDArray[Any], parameters: Mapping[str, Any]) -> Grids:
        return latents

    def additions(self) -> dict[str, Any]:
        return {}

    def errors(self) -> NDArray[np.float64]:
        """Never asked for: nothing is exchanged for something cheaper."""
        raise NotImplementedError

    def decode(self, codes: Grids, transform: Mapping[str, Any], quantizer: Mapping[str, Any]) -> Pictures:
        """The pictures themselves, uint8 [n, H, W, 3]."""
        return codes


def packets_of(gop: Gop) -> list[StoredPacket]:
    """The packets of a GOP; CorruptFileError or LimitError where its payload is not what was packed."""
    return unpack_obus(gop.payload) if gop.coder.name == AV1 else unpack(gop.payload)


def payload_of(coder: str, packets: Sequence[StoredPacket]) -> bytes:
    """The payload of a GOP of the coder."""
    return pack_obus(packets) if coder == AV1 else pack(packets)


class PacketDecoder:
    """The pictures of a GOP of packets, as grids whose channels are the picture's rows: uint8 [n, H, W, 3]."""

    costs = None  # only decoders of standard codecs know

    def __init__(self, stream: CodedStream, gop: Gop, height: int, width: int) -> None:
        """CorruptFileError or LimitError where the payload is not one, or what its coder says of it."""
        self._stream, self._size = stream, (height, width)
        hidden = gop.coder.params.get(HIDDEN, [])
        if not isinstance(hidden, list) or not all(type(place) is int for place in hidden):
            raise CorruptFileError("a GOP's hidden pictures are not a list of integers")
        largest = (height + _PADDING) * (width + _PADDING)  # else packets could be of larger pictures than the file
        self._frames = _shown(decoded(stream, packets_of(gop), largest), frozenset(hidden))

    def pull(self, n: int) -> Grids:
        """The next n pictures; CorruptFileError where the packets hold fewer, or ones of another size or format."""
        grids = np.empty((n, *self._size, 3), np.uint8)
        for picture in grids:
            frame = next(self._frames, None)
            if frame is None:
                raise CorruptFileError("a GOP holds fewer pictures than it says")
            if (frame.height, frame.width) != self._size:
                raise CorruptFileError(f"a picture of {frame.width}x{frame.height} is not of the file's size")
            self._stream.colour.rgb(frame, picture)
        return grids

    def finish(self) -> None:
        """Check that nothing follows; CorruptFileError otherwise."""
        if next(self._frames, None) is not None:
            raise CorruptFileError("a GOP holds more pictures than it says")


def _shown(frames: Iterator[av.VideoFrame], hidden: frozenset[int]) -> Iterator[av.VideoFrame]:
    return (frame for place, frame in enumerate(frames) if place not in hidden)


class PacketDecoders:
    """Makes decoders of a file's GOPs (see `GopDecoders`). Safe to share between threads."""

    def __init__(self, header: Header) -> None:
        """CorruptFileError, LimitError or UnsupportedError where the header does not describe streams."""
        self.spec = header.grid
        self._height, self._width = header.video.height, header.video.width
        self._streams: dict[str, CodedStream] = streams_of(header.transform.params)

    @property
    def memory(self) -> int:
        """Bytes that a decoder takes, about."""
        pixels = self._height * self._width
        return max((pixels * _picture_bytes(stream) for stream in self._streams.values()), default=pixels)

    def check(self) -> int:
        """The memory that a decoder takes; LimitError where that is more than is allowed."""
        limits.check_memory(f"decoding pictures of {self._width}x{self._height}", self.memory)
        return self.memory

    def prepare(self) -> None:
        """Do nothing: the packets of a GOP depend on no other."""

    def decoder(self, gop: Gop) -> PacketDecoder:
        """A decoder of a GOP; UnsupportedError where the header describes no stream of its coder."""
        self.check()
        stream = self._streams.get(gop.coder.name)
        if stream is None:
            raise UnsupportedError(f"the header describes no packets of the coder {gop.coder.name!r}")
        return PacketDecoder(stream, gop, self._height, self._width)


def _picture_bytes(stream: CodedStream) -> int:
    """Bytes that a decoder keeps for each pixel of a picture, about."""
    depth, shift_x, shift_y = FORMATS.get(stream.colour.pixel_format, (8, 0, 0))
    quarters = 4 + (8 >> (shift_x + shift_y))
    return _DECODER_PICTURES * quarters * (2 if depth > 8 else 1) // 4
