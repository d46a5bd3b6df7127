"""The interface between code grids and bytes: all right of it is lossless, exact, and knows nothing of pictures."""

from typing import Protocol

from pacodec.grids import Grids, GridSpec


class GridEncoder(Protocol):
    """Encodes the grids of one GOP, pushed in order."""

    def push(self, grids: Grids) -> None:
        """Take the next n grids, uint8 [n, C, h, w]. Their memory may be reused after the call."""

    def finish(self) -> bytes:
        """The payload of all grids pushed. Call once."""


class GridDecoder(Protocol):
    """Decodes the grids of one GOP in order.

    Damage need not raise: it may also end in other codes, which is what the container's checksum of the grids is for.
    """

    def pull(self, n: int) -> Grids:
        """The next n grids, uint8 [n, C, h, w]; CorruptFileError where the payload cannot hold them."""

    def finish(self) -> None:
        """Call after the last grid; CorruptFileError where the payload visibly holds more."""


class Predictor(Protocol):
    """One way of turning grids into bytes. Encoder and decoder hold no more than a few grids at a time."""

    @property
    def name(self) -> str:
        """The name that the header carries."""

    def encoder(self, spec: GridSpec) -> GridEncoder:
        """A fresh encoder: GOPs are independent."""

    def decoder(self, spec: GridSpec, payload: bytes) -> GridDecoder:
        """A fresh decoder of one GOP's payload, which is untrusted."""
