"""k-means colours: a code is the index of a pixel's nearest colour. Exact integers both ways.

The study's third quantizer applied to pixels. Corrections, quantized with a step, can follow the index as three more
code planes: step 1 makes any picture lossless, step s bounds the error of a channel by s // 2.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacodec.common.media import Pictures
from pacodec.common.pixels import MAX_COLOURS, pack_colours, unpack_colours
from pacodec.errors import CorruptFileError

LLOYD_ROUNDS = 24
MAX_SAMPLE_COLOURS = 1 << 15
"""Distinct colours that k-means sees; rarer ones beyond that are left out."""
MAX_CORRECTION_STEP = 64


def pack_palette(colours: NDArray[np.uint8]) -> bytes:
    """Colours, uint8 [K, 3], as parameters hold them: all reds, all greens, all blues, which deflate better so."""
    return colours.T.tobytes()


def unpack_palette(data: object) -> NDArray[np.uint8]:
    """What `pack_palette` was given, of an untrusted parameter; CorruptFileError where it is not of whole colours."""
    if not isinstance(data, bytes) or len(data) % 3:
        raise CorruptFileError("the palette is missing or malformed")
    return np.ascontiguousarray(np.frombuffer(data, np.uint8).reshape(3, -1).T)


def colour_errors(colours: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Squared distances of colours, uint8 [K, 3], as float64 [256, 256]; infinite where there is no such colour."""
    errors = np.full((MAX_COLOURS, MAX_COLOURS), np.inf)
    np.fill_diagonal(errors, 0)
    known = colours.astype(np.float64)
    errors[: len(known), : len(known)] = np.square(known[:, None] - known).sum(2)
    return errors


class PaletteTransform:
    """Pictures to codes [n, 1, H, W], or [n, 4, H, W] with corrections of R, G and B."""

    name = "palette"

    def __init__(self, palette: NDArray[np.uint8], correction_step: int = 0, room: int = 0) -> None:
        """`palette` is uint8 [K, 3]; `correction_step` 0 means no corrections.

        `room` is how many colours `encode` may add when it meets ones that are not in the palette: a sample seldom
        shows them all, and footage of few colours is to be kept exactly.
        """
        self.palette, self.correction_step, self.room = palette, correction_step, room
        self._given = len(palette)
        self._nearest: NDArray[np.uint16] | None = None
        self.exact = correction_step <= 1
        """Whether all pictures encoded so far come back exactly."""

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> "PaletteTransform":
        """Of the header's map {palette: K colours, correction_step: int}, and a GOP's {added: more colours}.

        CorruptFileError if malformed.
        """
        data, added, step = parameters.get("palette"), parameters.get("added", b""), parameters.get("correction_step")
        colours = np.concatenate([unpack_palette(data), unpack_palette(added)])
        if not 1 <= len(colours) <= MAX_COLOURS:
            raise CorruptFileError(f"a palette of {len(colours)} colours, allowed are 1 to {MAX_COLOURS}")
        if not isinstance(step, int) or isinstance(step, bool) or not 0 <= step <= MAX_CORRECTION_STEP:
            raise CorruptFileError(f"the palette's correction step {step!r} is not in 0..{MAX_CORRECTION_STEP}")
        return cls(colours, step)

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters that the header carries."""
        return {"palette": pack_palette(self.palette[: self._given]), "correction_step": self.correction_step}

    def additions(self) -> dict[str, Any]:
        """What a GOP carries of colours that were added since the header."""
        return {"added": pack_palette(self.palette[self._given :])} if len(self.palette) > self._given else {}

    def grid(self, height: int, width: int) -> tuple[int, int, int]:
        return (4 if self.correction_step else 1), height, width

    def encode(self, pictures: Pictures) -> NDArray[np.uint8]:
        """uint8 [n, H, W, 3] to codes."""
        indices = self._indices(pictures)
        if not self.correction_step:
            return indices[:, None]
        errors = pictures.astype(np.int16) - self.palette[indices]
        step = self.correction_step
        # At step 2 an error of 255 would take 128 steps, one more than a signed byte holds; 127 keep the bound as well.
        steps = errors if step == 1 else np.sign(errors) * np.minimum((np.abs(errors) + step // 2) // step, 127)
        corrections = np.moveaxis(steps.astype(np.uint8), 3, 1)  # modulo 256
        return np.concatenate([indices[:, None], corrections], 1)

    def decode(self, codes: NDArray[np.uint8]) -> Pictures:
        """Codes to uint8 [n, H, W, 3]; CorruptFileError for an index beyond the palette."""
        indices = codes[:, 0]
        if indices.size and int(indices.max()) >= len(self.palette):
            raise CorruptFileError("a code is beyond the palette")
        pictures = np.take(self.palette, indices, axis=0)
        if not self.correction_step:
            return pictures
        steps = np.moveaxis(codes[:, 1:], 1, 3)
        if self.correction_step == 1:
            return pictures + steps  # modulo 256
        corrected = pictures.astype(np.int16) + steps.view(np.int8) * np.int16(self.correction_step)
        return corrected.clip(0, 255).astype(np.uint8)

    def _indices(self, pictures: Pictures) -> NDArray[np.uint8]:
        """Nearest colours through a table of all 2^24, filled as colours turn up: clips repeat theirs."""
        if self._nearest is None:  # 1 + the index, or 0: memory that is zero costs nothing before it is written to
            self._nearest = np.zeros(1 << 24, np.uint16)
        packed = pack_colours(pictures)
        found = self._nearest[packed]
        unknown = found == 0
        if unknown.any():
            new = np.unique(packed[unknown])
            self._nearest[new] = 1 + self._learn(unpack_colours(new))
            found = self._nearest[packed]
        return (found - 1).astype(np.uint8)

    def _learn(self, colours: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Indices of colours [N, 3] met for the first time, added to the palette while there is room."""
        labels = nearest_colours(colours, self.palette)
        unknown = colours[(self.palette[labels] != colours).any(1)][: self.room]
        if len(unknown):
            self.palette, self.room = np.concatenate([self.palette, unknown]), self.room - len(unknown)
            labels = nearest_colours(colours, self.palette)
        if self.correction_step != 1 and (self.palette[labels] != colours).any():
            self.exact = False
        return labels


def learn_palette(
    pictures: Sequence[Pictures], colours: int = MAX_COLOURS, further: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """uint8 [K, 3], K <= colours: the colours themselves where there are few enough, else their k-means.

    `further`, uint8 [N, 3], are colours that the pictures may lack; each of them counts as one pixel more.

    Each distinct colour weighs as often as it occurs. The start is k-means++ without chance: each further colour is the
    one with the largest share of the error left (Arthur, Vassilvitskii 2007, section 2, made deterministic).
    """
    found = [np.unique(pack_colours(each), return_counts=True) for each in pictures]
    if further is not None:
        found.append(np.unique(pack_colours(further), return_counts=True))
    packed, places = np.unique(np.concatenate([occurring for occurring, _ in found]), return_inverse=True)
    counts = np.bincount(places, np.concatenate([often for _, often in found])).astype(np.int64)
    if len(packed) <= colours:
        return unpack_colours(packed)
    if len(packed) > MAX_SAMPLE_COLOURS:
        common = np.sort(np.argpartition(counts, -MAX_SAMPLE_COLOURS)[-MAX_SAMPLE_COLOURS:])
        packed, counts = packed[common], counts[common]
    points = unpack_colours(packed).astype(np.float64)
    centres = _spread(points, counts, colours)
    for _ in range(LLOYD_ROUNDS):
        labels = nearest_colours(points, centres)
        weights = np.bincount(labels, counts, minlength=colours)
        sums = np.stack([np.bincount(labels, counts * points[:, c], minlength=colours) for c in range(3)], 1)
        centres = np.where(weights[:, None] > 0, sums / np.maximum(weights, 1)[:, None], centres)
    return np.unique(np.rint(centres).astype(np.uint8), axis=0)


def _spread(points: NDArray[np.float64], counts: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    centres = np.empty((k, 3))
    centres[0] = points[np.argmax(counts)]
    norms = np.square(points).sum(1)

    def distances(centre: NDArray[np.float64]) -> NDArray[np.float64]:
        # Exact: all of them are integers.
        return np.asarray(norms - points @ (2 * centre) + centre @ centre, np.float64)

    distance = distances(centres[0])
    for index in range(1, k):
        centres[index] = points[np.argmax(distance * counts)]
        np.minimum(distance, distances(centres[index]), out=distance)
    return centres


def nearest_colours(points: NDArray[Any], palette: NDArray[Any], chunk: int = 1 << 8) -> NDArray[np.int64]:
    """Index of the nearest palette entry [K, 3] for each of the points [N, 3]; a chunk's distances fit into a cache."""
    centres = palette.astype(np.float64)
    norms, doubled = np.square(centres).sum(1), 2 * centres.T
    labels = np.empty(len(points), np.int64)
    for start in range(0, len(points), chunk):
        closeness = points[start : start + chunk].astype(np.float64) @ doubled
        closeness -= norms
        labels[start : start + chunk] = closeness.argmax(axis=1)
    return labels
