"""vanilla and multilayer of the study: 4 x 4 blocks of the frame, a fully-connected autoencoder for each.

vanilla is 6000 -> h -> 6000 and multilayer 6000 -> 3200 -> 1600 -> h and back, for 50 x 40 blocks. The study's ReLU on
the code is bounded at 1, and its linear code of multilayer likewise.
"""

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pacodec.autoencoders.autoencoder import FixedSizeAutoencoder, Phase
from pacodec.autoencoders.components import Components, principal_components
from pacodec.autoencoders.layers import GroupLinear, from_blocks, to_blocks

ROWS = COLUMNS = 4
GROUPS = ROWS * COLUMNS
MARGIN = 0.05
"""Share of the code's range that initialisation leaves free on either side, for frames outside the sample."""
NARROWEST = 0.03
"""Range of the components' scores, as a share of the widest one's, under which a component shares its unit with others
instead of filling the code's range: its steps are then fine enough, what frames outside the sample add is not cut off,
and its codes are cheaper (vanilla-1000: +0.4 dB with floats and with 8 bits, files smaller)."""


class BlockCode(FixedSizeAutoencoder):
    """`codes` values for each block."""

    codes: int

    def grid(self, height: int, width: int) -> tuple[int, int, int]:
        """The shape [codes, 4, 4] of the latents, which does not depend on the picture's size."""
        return self.codes, ROWS, COLUMNS


class BlockAutoencoder(BlockCode):
    """`codes` values a block, after hidden layers of the given widths; `rank` factorises every layer (0: full)."""

    phases = (Phase(1.0, 1e-4),)  # it starts at the principal components, where larger steps do harm

    def __init__(
        self,
        codes: int,
        hidden: tuple[int, ...] = (),
        height: int = 200,
        width: int = 160,
        rank: int = 0,
        *,
        folded: bool = False,
    ) -> None:
        super().__init__()
        self.size, self.codes, self.hidden, self.rank, self.folded = (height, width), codes, hidden, rank, folded
        widths = [3 * (height // ROWS) * (width // COLUMNS), *hidden, codes]
        pairs = list(pairwise(widths))
        self.encoder = nn.ModuleList([GroupLinear(GROUPS, a, b, rank) for a, b in pairs])
        self.decoder = nn.ModuleList([GroupLinear(GROUPS, b, a, rank) for a, b in reversed(pairs)])

    def encode(self, images: Tensor) -> Tensor:
        """[N, 3, H, W] to [N, codes, 4, 4]: the code of a block stands where the block is."""
        x = to_blocks(images, ROWS, COLUMNS)
        for layer in self.encoder[:-1]:
            x = functional.relu(layer(x))
        x = self.encoder[-1](x).float().clamp(0, 1)
        latents: Tensor = x.permute(1, 2, 0).reshape(-1, self.codes, ROWS, COLUMNS)
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        """[N, codes, 4, 4] to images of the network's own size."""
        x = latents.flatten(2).permute(2, 0, 1)
        for layer in self.decoder[:-1]:
            x = functional.relu(layer(x))
        height, width = self.size
        return from_blocks(self.decoder[-1](x), ROWS, COLUMNS, height, width)

    @torch.no_grad()
    def initialise(self, images: Tensor) -> None:
        """Start at the principal components of each block: the best linear autoencoder (Bourlard, Kamp 1988).

        Hidden layers pass a component through a ReLU unshifted: their biases keep it positive on the sample.
        """
        self.begin(principal_components(to_blocks(images, ROWS, COLUMNS), min(self.rank or self.codes, self.codes)))

    @torch.no_grad()
    def begin(self, components: Components) -> None:
        """Start at these components, or as many of them as there are codes and ranks for."""
        found = components.first(min(self.rank or self.codes, self.codes))
        kept, mean, k = found.directions, found.mean, found.directions.shape[1]
        scale, shift = to_unit_range(found.low, found.high)
        unscaled = kept.mT / scale[:, None]  # [G, in, k]
        first, *inner = cast("list[GroupLinear]", [*self.encoder, *self.decoder])
        last = inner.pop()
        first.assign(kept * scale[..., None], shift[:, None] - (mean @ kept.mT) * scale[:, None])
        last.assign(unscaled, mean - shift[:, None] @ unscaled.mT)
        for layer in inner:
            layer.assign(torch.eye(k).expand(GROUPS, k, k), torch.zeros(GROUPS, 1, k))


def to_unit_range(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and shift that take low .. high into `MARGIN` .. 1 - `MARGIN`, its middle to the middle.

    Wide components fill that range: at a given number of levels their steps are what costs most.
    """
    width = high - low
    scale = (1 - 2 * MARGIN) / torch.maximum(width, NARROWEST * width.max()).clamp_min(1e-3)
    return scale, 0.5 - (low + high) / 2 * scale


DEFAULT_CODES = 64


class PrincipalComponents(BlockCode):
    """PCA: `rank` components a block, the classical code that the others must justify themselves against.

    One matrix a block, orthonormal rows, serves both ways; a code is a component's score, brought to [0, 1]. Nothing is
    trained by gradient.
    """

    phases = ()

    def __init__(self, rank: int = 0, height: int = 200, width: int = 160, *, folded: bool = False) -> None:
        super().__init__()
        self.size, self.codes, self.folded = (height, width), rank or DEFAULT_CODES, folded
        self.rank = self.codes
        values = 3 * (height // ROWS) * (width // COLUMNS)
        self.directions = nn.Parameter(torch.zeros(GROUPS, self.codes, values))
        self.mean = nn.Parameter(torch.zeros(GROUPS, 1, values))
        self.scale = nn.Parameter(torch.ones(GROUPS, 1, self.codes))
        self.shift = nn.Parameter(torch.zeros(GROUPS, 1, self.codes))

    def encode(self, images: Tensor) -> Tensor:
        scores = (to_blocks(images, ROWS, COLUMNS) - self.mean) @ self.directions.mT
        codes = torch.addcmul(self.shift, scores, self.scale).float().clamp(0, 1)
        return codes.permute(1, 2, 0).reshape(-1, self.codes, ROWS, COLUMNS)

    def decode(self, latents: Tensor) -> Tensor:
        codes = latents.flatten(2).permute(2, 0, 1)
        height, width = self.size
        blocks = torch.baddbmm(self.mean, (codes - self.shift) / self.scale, self.directions)
        return from_blocks(blocks, ROWS, COLUMNS, height, width)

    @torch.no_grad()
    def initialise(self, images: Tensor) -> None:
        """Take the principal components of a sample of images."""
        self.begin(principal_components(to_blocks(images, ROWS, COLUMNS), self.codes))

    @torch.no_grad()
    def begin(self, components: Components) -> None:
        """Take the first of these components; where there are fewer than codes, the others stay unused."""
        found = components.first(self.codes)
        k = found.directions.shape[1]
        scale, shift = to_unit_range(found.low, found.high)
        self.directions[:, :k], self.mean[:] = found.directions, found.mean
        self.scale[..., :k], self.shift[..., :k] = scale[:, None], shift[:, None]
