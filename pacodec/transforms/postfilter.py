"""A post-filter: what the nearest colours of a noisy picture lack, as it was seen where the same codes stood around.

A table of corrections. The codes around a pixel name an entry, which says by how much the pictures that were meant
differed there from the colours of their codes, on average. Of several neighbourhoods, from the pixel's own code to a
wide one at one place of the picture, the most particular one that was seen often enough counts (backoff: Katz 1987).
All of it is lookups of integers, so that all machines see the same pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import zstandard
from numpy.typing import NDArray

from pacodec import limits
from pacodec.common.media import Grids, Pictures
from pacodec.errors import CorruptFileError

POSTFILTER = "postfilter"
"""The tensor of a model that holds the table."""
KEY_BITS = 22
"""Of the hashes that name entries."""
MAX_ENTRIES = 1 << 18
"""Of one neighbourhood."""
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_FOLD = np.uint64(29)
_MAX_BYTES = 1 << 23
_COUNT_BYTES, _KEY_BYTES, _LEVEL_BYTES = 4, 3, 3
"""Of the number of entries, of a difference of keys, and of a correction of R, G and B."""


@dataclass(frozen=True)
class Neighbourhood:
    """Which codes around a pixel name an entry."""

    reach: int
    """Those at (dy, dx) with dy^2 + dx^2 of at most this."""
    placed: bool = False
    """Whether the pixel's place in the picture counts as well."""

    @property
    def offsets(self) -> list[tuple[int, int]]:
        """(dy, dx) of the codes that count, row by row."""
        side = range(-REACH, REACH + 1)
        return [(dy, dx) for dy in side for dx in side if dy * dy + dx * dx <= self.reach]

    def keys(self, bordered: NDArray[np.uint64], y: NDArray[np.intp], x: NDArray[np.intp]) -> NDArray[np.int32]:
        """Hashes of n places (y, x) of a grid, of which `with_border` was taken, as int32 [n]."""
        width = bordered.shape[1] - 2 * REACH
        mixed = np.zeros(len(y), np.uint64)
        if self.placed:
            mixed += (y * width + x + 1).astype(np.uint64) * _MULTIPLIER
        for dy, dx in self.offsets:
            mixed = (mixed + bordered[y + (REACH + dy), x + (REACH + dx)] + np.uint64(1)) * _MULTIPLIER
            mixed ^= mixed >> _FOLD
        return (mixed >> np.uint64(64 - KEY_BITS)).astype(np.int32)


REACH = 2
"""Rows and columns in each direction that a pixel's correction depends on."""


def with_border(codes: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """A grid of codes [h, w] as [h + 2 `REACH`, w + 2 `REACH`]: what is outside counts as code 0."""
    return np.pad(codes, REACH).astype(np.uint64)


NEIGHBOURHOODS = (
    Neighbourhood(0),
    Neighbourhood(0, placed=True),
    Neighbourhood(1),
    Neighbourhood(2),
    Neighbourhood(5),
    Neighbourhood(2, placed=True),
)
"""From the most general to the most particular."""


@dataclass(frozen=True)
class Entries:
    """What a post-filter knows of one neighbourhood."""

    keys: NDArray[np.int32]
    """Ascending, each once, [n]."""
    corrections: NDArray[np.int8]
    """Of R, G and B, [n, 3]."""

    def find(self, keys: NDArray[np.int32]) -> tuple[NDArray[np.bool_], NDArray[np.int8]]:
        """Which of the keys have an entry, bool [n], and the corrections of those, int8 [found, 3]."""
        if not len(self.keys):
            return np.zeros(len(keys), np.bool_), np.empty((0, 3), np.int8)
        at = np.searchsorted(self.keys, keys).clip(max=len(self.keys) - 1)
        known = self.keys[at] == keys
        return known, self.corrections[at[known]]


class PostFilter:
    """Corrects pictures of palette colours."""

    def __init__(self, levels: Sequence[Entries], size: tuple[int, int]) -> None:
        """`levels`: entries for each of `NEIGHBOURHOODS`; `size`: height and width of the pictures that they are of. In
        pictures of another size no place is known.
        """
        self.levels, self.size = levels, size

    @classmethod
    def from_bytes(cls, data: bytes, size: tuple[int, int]) -> Self:
        """Of a model's tensor, which is untrusted; CorruptFileError or LimitError where it is no table."""
        try:
            with zstandard.ZstdDecompressor(max_window_size=_MAX_BYTES).stream_reader(data) as reader:
                content = reader.read(_MAX_BYTES + 1)
        except zstandard.ZstdError as error:
            raise CorruptFileError(f"the model's post-filter is damaged ({error})") from error
        limits.check("the bytes of the model's post-filter", len(content), _MAX_BYTES)
        levels, at = list[Entries](), 0
        for _ in NEIGHBOURHOODS:
            count = int.from_bytes(content[at : at + _COUNT_BYTES], "little")
            limits.check("the entries of the model's post-filter", count, MAX_ENTRIES)
            first, at = at + _COUNT_BYTES, at + _COUNT_BYTES + count * (_KEY_BYTES + _LEVEL_BYTES)
            if at > len(content):
                raise CorruptFileError("the model's post-filter is cut off")
            columns = np.frombuffer(content[first:at], np.uint8).reshape(_KEY_BYTES + _LEVEL_BYTES, count)
            places = np.array([1 << 8 * byte for byte in range(_KEY_BYTES)])
            keys = np.cumsum(places @ columns[:_KEY_BYTES] + 1) - 1
            if count and int(keys[-1]) >> KEY_BITS:
                raise CorruptFileError("a key of the model's post-filter is too large")
            corrections = np.ascontiguousarray(columns[_KEY_BYTES:].T).view(np.int8)
            levels.append(Entries(keys.astype(np.int32), corrections))
        if at != len(content):
            raise CorruptFileError("the model's post-filter goes on after its entries")
        return cls(levels, size)

    def to_bytes(self) -> bytes:
        """What `from_bytes` takes: one zstd frame of, for each neighbourhood, the number of entries, what each key
        leaves out after the one before it, and the corrections; column by column, which becomes smaller.
        """
        parts = []
        for entries in self.levels:
            keys = np.concatenate([[-1], entries.keys])
            steps = keys[1:] - keys[:-1] - 1
            columns = [(steps >> 8 * byte & 255).astype(np.uint8) for byte in range(_KEY_BYTES)]
            parts += [len(entries.keys).to_bytes(_COUNT_BYTES, "little"), *map(np.ndarray.tobytes, columns)]
            parts.append(entries.corrections.T.tobytes())
        return zstandard.ZstdCompressor(19).compress(b"".join(parts))

    def filter(self, codes: Grids, pictures: Pictures) -> Pictures:
        """What was probably meant, uint8 [n, H, W, 3], by codes [n, 1, H, W] and the pictures of their colours; cheap
        where codes are like those before them.
        """
        filtered = pictures.copy()
        corrections = np.zeros(pictures.shape[1:], np.int16)
        for number, grid in enumerate(codes[:, 0]):
            if number:
                places = _around(grid != codes[number - 1, 0])
                y, x = places.nonzero()
            else:
                y, x = np.indices(grid.shape).reshape(2, -1)
            corrections[y, x] = self._corrections(grid, y, x)
            filtered[number] = (pictures[number] + corrections).clip(0, 255)
        return filtered

    def _corrections(self, codes: NDArray[np.uint8], y: NDArray[np.intp], x: NDArray[np.intp]) -> NDArray[np.int8]:
        """Of n places, int8 [n, 3]: those of the most particular neighbourhoods that are known."""
        found = np.zeros((len(y), 3), np.int8)
        left = np.arange(len(y))
        bordered = with_border(codes)
        for neighbourhood, entries in zip(reversed(NEIGHBOURHOODS), reversed(self.levels), strict=True):
            if neighbourhood.placed and codes.shape != self.size:
                continue
            known, corrections = entries.find(neighbourhood.keys(bordered, y[left], x[left]))
            found[left[known]] = corrections
            left = left[~known]
        return found


def _around(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The places within `REACH` rows and columns of those of a mask, bool [h, w]."""
    height, width = mask.shape
    wide = np.pad(mask, REACH)
    rows = np.logical_or.reduce([wide[top : top + height] for top in range(2 * REACH + 1)])
    grown: NDArray[np.bool_] = np.logical_or.reduce([rows[:, left : left + width] for left in range(2 * REACH + 1)])
    return grown
