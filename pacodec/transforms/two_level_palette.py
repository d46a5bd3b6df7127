"""Palette index and shade: exact coding of footage that has more than 256 colours, but the same ones again and again.

Clean footage has some thousand colours, nearly all of them the antialiasing of a few. Here each colour has a label of
two bytes: the index of a palette colour and a number among the shades of it. That is as exact as a correction of three
channels, easier to predict, and half as many planes.

Stored, a list of shades is bytes, packed as by `zstd_frames`: for each of the 256 indices how many shades follow (u8);
then for each one, in order of index and number, its number less that of the one before it at the same index (u8; less 0
for the first); then the differences mod 256 of all shades from their palette colours: of R, of G, of B.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacodec.common.media import Pictures
from pacodec.common.pixels import MAX_COLOURS, pack_colours, unpack_colours
from pacodec.common.zstd_frames import pack, unpack
from pacodec.errors import CorruptFileError, QualityError
from pacodec.transforms.palette import nearest_colours, pack_palette, unpack_palette

INDICES = 256
MAX_SHADES = 254
"""Shades of an index beside its own colour, which is shade 0. Shade 255 is left to later versions."""
LABELS = INDICES << 8
_BYTES = 4
"""Stored bytes of a shade."""

Colours = NDArray[np.uint8]
Labels = NDArray[np.uint16]
"""256 * index + shade."""
_UNKNOWN = np.uint16(0xFFFF)  # its shade is 255, which no colour has
_KEPT_GOPS = 256
"""GOPs for which a label that is not used keeps its colour: as many may still be at work with it."""


class LabelTable:
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


class TwoLevelPalette:
    """Pictures to codes [n, 2, H, W]: palette index and shade."""

    name = "shades"
    exact = True

    def __init__(self, palette: NDArray[np.uint8], shades: NDArray[np.uint8]) -> None:
        """`palette` is uint8 [K, 3], K <= 256; `shades` uint8 [N, 3] are further colours, the most frequent first.

        No colour should be there twice. Each shade becomes the next one of the nearest palette colour that has fewer
        than 254; so does, later, each new colour that `encode` meets. Raises QualityError where there are too many.
        """
        self._given, self._table = palette, LabelTable(palette)
        self._gop, self._used_in = 0, np.full(LABELS, -_KEPT_GOPS, np.int64)
        self._complements: Labels | None = None
        """65535 less the label of each colour: memory that is zero, of unknown ones, costs nothing before its use."""
        self._header = self._table.known.copy()
        self._add(shades)
        self._header = self._table.known.copy()

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> "TwoLevelPalette":
        """Of the header's {palette: K colours, shades: bytes} and a GOP's {added: bytes}, stored by `LabelTable.pack`.

        CorruptFileError or LimitError if malformed.
        """
        palette = unpack_palette(parameters.get("palette"))
        if not 1 <= len(palette) <= MAX_COLOURS:
            raise CorruptFileError(f"a palette of {len(palette)} colours, allowed are 1 to {MAX_COLOURS}")
        made = cls(palette, np.empty((0, 3), np.uint8))
        for key in ("shades", "added"):
            stored = parameters.get(key)
            if isinstance(stored, bytes):
                made._table.unpack(stored)
            elif stored is not None:
                raise CorruptFileError(f"the palette's {key} are malformed")
        made._header = made._table.known.copy()
        return made

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters that the header carries."""
        return {"palette": pack_palette(self._given), "shades": self._table.pack(self._header)}

    @property
    def palette(self) -> NDArray[np.uint8]:
        """The colours of shade 0, uint8 [256, 3]."""
        return self._table.palette

    def additions(self) -> dict[str, Any]:
        """What a GOP carries, made of all encoded since the last call: its shades that the header does not have."""
        added = (self._used_in == self._gop) & self._table.known & ~self._header
        self._gop += 1
        return {"added": self._table.pack(added)} if added.any() else {}

    def grid(self, height: int, width: int) -> tuple[int, int, int]:
        return 2, height, width

    def encode(self, pictures: Pictures) -> NDArray[np.uint8]:
        """uint8 [n, H, W, 3] to codes; QualityError where one GOP has more new colours than there are labels."""
        if self._complements is None:
            self._complements = np.zeros(1 << 24, np.uint16)
            known = np.flatnonzero(self._table.known)[::-1]  # of equal colours the first label remains
            self._complements[pack_colours(self._table.colours[known])] = ~known.astype(np.uint16)
        packed = pack_colours(pictures)
        labels = ~self._complements[packed]
        unknown = labels == _UNKNOWN
        self._used_in[labels] = self._gop  # also what is known: to be kept when room is made for the others
        if unknown.any():
            self._add(unpack_colours(np.unique(packed[unknown])))
            labels = ~self._complements[packed]
        return np.stack([labels >> 8, labels & 255], 1).astype(np.uint8)

    def decode(self, codes: NDArray[np.uint8]) -> Pictures:
        """Codes to uint8 [n, H, W, 3]; CorruptFileError for a shade that has no colour."""
        labels = codes[:, 0].astype(np.uint16) << 8 | codes[:, 1]
        if not self._table.known[labels].all():
            raise CorruptFileError("a code is of a shade that has no colour")
        pictures: Pictures = self._table.colours[labels]
        return pictures

    def _add(self, colours: NDArray[np.uint8]) -> None:
        """Give new colours [N, 3] labels; where the nearest palette colour has none left, of the nearest that has."""
        free = (~self._header & (self._used_in <= self._gop - _KEPT_GOPS)).reshape(INDICES, -1)
        free[:, MAX_SHADES + 1 :] = False
        if len(colours) > int(free.sum()):
            raise QualityError(f"there are more than {INDICES * (MAX_SHADES + 1)} colours, too many for shades")
        while len(colours):
            roomy = np.flatnonzero(free.any(1))
            index = roomy[nearest_colours(colours, self._table.palette[roomy])]
            order = np.argsort(index, kind="stable")
            counts = np.bincount(index, minlength=INDICES)
            rank = np.empty(len(colours), np.int64)
            rank[order] = np.arange(len(colours)) - np.repeat(np.cumsum(counts) - counts, counts)
            fits = rank < free.sum(1)[index]
            numbers = np.argsort(~free, axis=1, kind="stable")  # the free ones first
            labels = index[fits] << 8 | numbers[index[fits], rank[fits]]
            self._assign(labels.astype(np.uint16), colours[fits])
            free.reshape(-1)[labels] = False
            colours = colours[~fits]

    def _assign(self, labels: Labels, colours: NDArray[np.uint8]) -> None:
        if self._complements is not None:
            former = labels[self._table.known[labels]]
            self._complements[pack_colours(self._table.colours[former])] = ~_UNKNOWN
            self._complements[pack_colours(colours)] = ~labels
        self._table.put(labels, colours)
        self._used_in[labels] = self._gop


def frequent_colours(pictures: Sequence[Pictures]) -> NDArray[np.uint8]:
    """The distinct colours of pictures, the most frequent first, uint8 [N, 3]."""
    packed, counts = np.unique(np.concatenate([pack_colours(p).ravel() for p in pictures]), return_counts=True)
    return unpack_colours(packed[np.argsort(-counts, kind="stable")])


def occurring_palette(palette: NDArray[np.uint8], colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A palette for lossless coding, all of it from `frequent_colours` [N, 3], uint8 [K, 3].

    Each colour of `palette` gives way to the most frequent of those that it is the nearest to, unless the most frequent
    ones of all can be the palette: with these most pixels have shade 0 (0.97 of the bytes on a web clip), but the
    colours of rich footage would crowd around a few of them (1.12 of the bytes).
    """
    frequent = colours[:MAX_COLOURS]
    crowd = np.bincount(nearest_colours(colours, frequent)).max(initial=0)
    if crowd > MAX_SHADES // 2:
        _, first = np.unique(nearest_colours(colours, palette), return_index=True)
        frequent = colours[first]
    return frequent


def without(colours: NDArray[np.uint8], palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The colours [N, 3] that are not in a palette [K, 3], in the same order."""
    return colours[~np.isin(pack_colours(colours), pack_colours(palette))]
