"""GOPs of packets as the rest of the package decodes GOPs: pictures are grids that need no transform."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacodec import limits
from pacodec.base_layer.colour import FORMATS
from pacodec.base_layer.stream import TRANSFORM, CodedStream, PacketDecoder, picture_spec, streams_of
from pacodec.container import Component, Gop, Header
from pacodec.errors import UnsupportedError
from pacodec.grids import Grids
from pacodec.transforms.base import Pictures

_DECODER_PICTURES = 12
"""Pictures that a decoder keeps, about: references, and those that its threads work on."""


class PictureGrids:
    """The transform `picture`: a grid is a picture, its channels the rows (see `GridTransform`)."""

    streams = True
    concurrent = False
    exact = True
    model = None
    quantizer = Component("none")

    def __init__(self, height: int, width: int, params: Mapping[str, Any]) -> None:
        """`params`: the streams that the header describes, by coder."""
        self.spec = picture_spec(height, width)
        self.transform = Component(TRANSFORM, params)

    def analyse(self, pictures: Pictures) -> NDArray[Any]:
        """The pictures themselves."""
        return pictures

    def fit(self, latents: NDArray[Any]) -> dict[str, Any]:
        """Nothing to fit."""
        return {}

    def quantize(self, latents: NDArray[Any], parameters: Mapping[str, Any]) -> Grids:
        """The pictures themselves."""
        return latents

    def additions(self) -> dict[str, Any]:
        """Nothing to add."""
        return {}

    def errors(self) -> NDArray[np.float64]:
        """Never asked for: nothing is exchanged for something cheaper."""
        raise NotImplementedError

    def decode(self, codes: Grids, transform: Mapping[str, Any], quantizer: Mapping[str, Any]) -> Pictures:
        """The pictures themselves, uint8 [n, H, W, 3]."""
        return codes


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
