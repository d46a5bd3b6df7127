"""Exact colours by label: a palette index and a shade of it. How they are found, and how they are stored.

Stored, a list of shades is bytes, packed as by `zstd_frames`: for each of the 256 indices how many shades follow (u8);
then for each one, in order of index and number, its number less that of the one before it at the same index (u8; less 0
for the first); then the differences mod 256 of all shades from their palette colours: of R, of G, of B.
"""

import numpy as np
from numpy.typing import NDArray

from pacodec.common.zstd_frames import pack, unpack
from pacodec.errors import CorruptFileError

INDICES = 256
MAX_SHADES = 254
"""Shades of an index beside its own colour, which is shade 0. Shade 255 is left to later versions."""
LABELS = INDICES << 8
_BYTES = 4
"""Stored bytes of a shade."""

Colours = NDArray[np.uint8]
Labels = NDArray[np.uint16]
"""256 * index + shade."""


class ShadeTable:
    """The colours of labels, uint8 [65536, 3], and which labels have one, bool [65536]."""

    def __init__(self, palette: Colours) -> None:
        """`palette`: uint8 [K, 3], K <= 256, the colours of shade 0; indices from K on get those of a fixed lattice.

        The lattice is for what the makers of the palette did not see: without it, footage that begins with a black
        screen would have the shades of black and no others.
        """
        rest = np.arange(len(palette), INDICES)
        lattice = np.stack([36 * (rest >> 5), 36 * (rest >> 2 & 7), 85 * (rest & 3)], 1).astype(np.uint8)
        self.palette = np.concatenate([palette, lattice])
        self.colours = np.zeros((LABELS, 3), np.uint8)
        self.known = np.zeros(LABELS, np.bool_)
        self.put(np.arange(0, LABELS, 256).astype(np.uint16), self.palette)

    def put(self, labels: Labels, colours: Colours) -> None:
        """Give labels [N] their colours [N, 3]."""
        self.colours[labels], self.known[labels] = colours, True

    def pack(self, wanted: NDArray[np.bool_]) -> bytes:
        """The shades among the wanted labels, bool [65536], as they are stored; shade 0 is the palette's affair."""
        labels = np.flatnonzero(wanted)
        labels = labels[labels & 255 != 0]
        index, shade = labels >> 8, labels & 255
        counts = np.bincount(index, minlength=INDICES)
        steps = np.diff(shade, prepend=0)
        first = (np.cumsum(counts) - counts)[counts > 0]
        steps[first] = shade[first]
        differences = self.colours[labels] - self.palette[index]  # modulo 256
        return pack(counts.astype(np.uint8).tobytes() + steps.astype(np.uint8).tobytes() + differences.T.tobytes())

    def unpack(self, data: bytes) -> None:
        """Take in what `pack` stored, untrusted; CorruptFileError or LimitError where it is malformed."""
        raw = np.frombuffer(unpack(data, "shades", INDICES + _BYTES * INDICES * MAX_SHADES), np.uint8)
        counts = raw[:INDICES].astype(np.int64)
        n = int(counts.sum())
        if len(counts) != INDICES or len(raw) != INDICES + _BYTES * n:
            raise CorruptFileError(f"{len(raw)} bytes do not hold the {n} shades that they announce")
        index = np.repeat(np.arange(INDICES), counts)
        steps = raw[INDICES : INDICES + n].astype(np.int64)
        total = np.concatenate(([0], np.cumsum(steps)))
        shade = total[1:] - np.repeat(total[np.cumsum(counts) - counts], counts)
        if n and (int(steps.min()) < 1 or int(shade.max()) > MAX_SHADES):
            raise CorruptFileError(f"the numbers of an index's shades do not ascend within 1..{MAX_SHADES}")
        differences = raw[INDICES + n :].reshape(3, n).T
        self.put((index << 8 | shade).astype(np.uint16), self.palette[index] + differences)
