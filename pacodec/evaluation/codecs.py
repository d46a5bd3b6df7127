"""What is compared: a codec with all its settings, which encodes a clip to packets and decodes it again."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pacodec.common.media import Image
from pacodec.evaluation.clips import Clip


@dataclass(frozen=True)
class Encoded:
    """A coded clip: `packets` are all that a decoder needs, `notes` what is worth saying about them, fit for JSON."""

    packets: list[bytes]
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of all packets."""
        return sum(map(len, self.packets))


class Codec(Protocol):
    """A frozen dataclass: its fields are the settings, fit for JSON."""

    def encode(self, clip: Clip) -> Encoded:
        """Code all frames, on one core."""

    def decode(self, clip: Clip, packets: list[bytes]) -> Iterator[Image]:
        """The decoded frames, uint8 [H, W, 3], in order, on one core."""

    def identity(self) -> str:
        """What beside its settings decides the bytes: versions of libraries, weights."""
