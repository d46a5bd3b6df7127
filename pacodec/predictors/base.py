"""The interface between code grids and bytes: all right of it is lossless, exact, and knows nothing of pictures."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pacodec import limits
from pacodec.grids import Grids, GridSpec


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


class Predictor(Protocol):
    """One way of turning grids into bytes. Encoder and decoder hold no more than a few grids at a time."""

    @property
    def name(self) -> str:
        """The name that the header carries."""

    @property
    def origin(self) -> bytes | None:
        """What `get_predictor` makes the same one of in another process: a model file, b"" where it needs none; None
        where coding in several processes would gain nothing.
        """

    @property
    def looks_back(self) -> int:
        """Grids equal to their predecessor after which further ones need not be coded: a predictor that knows movement
        by several grids would take a pause for none if they were left out at once.
        """

    def memory(self, spec: GridSpec) -> int:
        """Bytes that decoding or encoding a GOP of such grids takes, about; checked before they are taken."""

    def encoder(self, spec: GridSpec, costs: NDArray[np.float64] | None = None) -> GridEncoder:
        """A fresh encoder: GOPs are independent.

        `costs`: what it costs to code j where i was meant in the first channel, nats, float64 [256, 256]; a predictor
        may then code other codes where that saves more. Without it codes are kept.
        """

    def decoder(self, spec: GridSpec, payload: bytes) -> GridDecoder:
        """A fresh decoder of one GOP's payload, which is untrusted."""


def check_grid(predictor: Predictor, spec: GridSpec) -> None:
    """Raise LimitError where grids of a file's declared size would take too much memory."""
    shape = f"{spec.channels}x{spec.height}x{spec.width}"
    limits.check_memory(f"a code grid of {shape} in the predictor {predictor.name}", predictor.memory(spec))
