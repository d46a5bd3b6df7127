"""PCA of each block, the classical code that the fully-connected networks must justify themselves against.

One matrix a block, orthonormal rows, serves both ways; a code is a component's score, brought to [0, 1].
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pacodec.autoencoders.autoencoder import Autoencoder
from pacodec.autoencoders.blocks import COLUMNS, GROUPS, ROWS, to_unit_range
from pacodec.autoencoders.components import Components, principal_components
from pacodec.autoencoders.layers import from_blocks, to_blocks

DEFAULT_CODES = 64


class PrincipalComponents(Autoencoder):
    """`rank` components a block; nothing is trained by gradient."""

    phases = ()

    def __init__(self, rank: int = 0, height: int = 200, width: int = 160, *, folded: bool = False) -> None:
        super().__init__()
        self.size, self.codes, self.folded = (height, width), rank or DEFAULT_CODES, folded
        values = 3 * (height // ROWS) * (width // COLUMNS)
        self.directions = nn.Parameter(torch.zeros(GROUPS, self.codes, values))
        self.mean = nn.Parameter(torch.zeros(GROUPS, 1, values))
        self.scale = nn.Parameter(torch.ones(GROUPS, 1, self.codes))
        self.shift = nn.Parameter(torch.zeros(GROUPS, 1, self.codes))

    @property
    def hyperparameters(self) -> Mapping[str, int]:
        """The frame size and the number of components."""
        height, width = self.size or (0, 0)
        return {"height": height, "width": width, "rank": self.codes}

    def encode(self, images: Tensor) -> Tensor:
        """[N, 3, H, W] to [N, codes, 4, 4]: the code of a block stands where the block is."""
        scores = (to_blocks(images, ROWS, COLUMNS) - self.mean) @ self.directions.mT
        codes = torch.addcmul(self.shift, scores, self.scale).float().clamp(0, 1)
        return codes.permute(1, 2, 0).reshape(-1, self.codes, ROWS, COLUMNS)

    def decode(self, latents: Tensor) -> Tensor:
        """[N, codes, 4, 4] to images of the fixed size."""
        codes = latents.flatten(2).permute(2, 0, 1)
        height, width = self.size or (0, 0)
        blocks = torch.baddbmm(self.mean, (codes - self.shift) / self.scale, self.directions)
        return from_blocks(blocks, ROWS, COLUMNS, height, width)

    def grid(self, height: int, width: int) -> tuple[int, int, int]:
        """The shape [codes, 4, 4] of the latents, which does not depend on the picture's size."""
        return self.codes, ROWS, COLUMNS

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
