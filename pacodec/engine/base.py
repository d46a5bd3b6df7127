"""The interface between code grids and bytes: all right of it is lossless, exact, and knows nothing of pictures."""

from typing import Protocol

from pacodec.common.grids import Grids


class GridEncoder(Protocol):
    """Encodes the grids of one GOP, pushed in order."""

    def push(self, grids: Grids) -> Grids:
        """Take the next n grids, uint8 [n, C, h, w], whose memory may be reused after the call; what a decoder will
        give back for them.
        """

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
