"""The study's variational autoencoder: four stride-2 convolutions, a Gaussian posterior over 2,048 values, mirrored.

The Gaussian passes a sigmoid on its way to the decoder, which bounds the code and changes nothing else: the decoder's
first linear layer follows it.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from pacodec.transforms.autoencoder import Autoencoder
from pacodec.transforms.layers import ConvUnit, GroupLinear

CHANNELS = (16, 32, 64, 128)
CODES = 2048
STRIDE = 1 << len(CHANNELS)


class VariationalAutoencoder(Autoencoder):
    """Works at one frame size; its three linear layers may be factorised (`rank`, 0 for full matrices)."""

    def __init__(self, height: int = 200, width: int = 160, rank: int = 256, *, folded: bool = False) -> None:
        super().__init__()
        self.size, self.rank, self.folded = (height, width), rank, folded
        self.inner = (CHANNELS[-1], -(-height // STRIDE), -(-width // STRIDE))
        features = self.inner[0] * self.inner[1] * self.inner[2]
        widths = (3, *CHANNELS)
        self.down = nn.Sequential(*(ConvUnit(a, b, 2, folded=folded) for a, b in zip(widths, CHANNELS, strict=False)))
        self.mean = GroupLinear(1, features, CODES, rank)
        if not folded:
            self.log_variance = GroupLinear(1, features, CODES, rank)
        self.back = GroupLinear(1, CODES, features, rank)
        ups = [ConvUnit(b, a, up=True, folded=folded) for a, b in zip(widths[1:], CHANNELS[1:], strict=False)]
        self.up = nn.Sequential(*reversed(ups), nn.ConvTranspose2d(CHANNELS[0], 3, 3, 2, 1, output_padding=1))

    @property
    def hyperparameters(self) -> Mapping[str, int]:
        """The frame size and the rank of the linear layers."""
        height, width = self.size or (0, 0)
        return {"height": height, "width": width, "rank": self.rank}

    def _posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.down(images).flatten(1)[None].float()
        return self.mean(features)[0], self.log_variance(features)[0]

    def encode(self, images: Tensor) -> Tensor:
        """The sigmoid of the posterior's mean, [N, 2048, 1, 1]."""
        features = self.down(images).flatten(1)[None].float()
        return torch.sigmoid(self.mean(features)[0])[..., None, None]

    def _logits(self, latents: Tensor) -> Tensor:
        features = functional.relu(self.back(latents.flatten(1)[None])[0])
        logits: Tensor = self.up(features.reshape(-1, *self.inner))
        height, width = self.size or (0, 0)
        return logits[..., :height, :width]

    def decode(self, latents: Tensor) -> Tensor:
        """Images of the network's own size."""
        return torch.sigmoid(self._logits(latents).float())

    def grid(self, height: int, width: int) -> tuple[int, int, int]:
        """[2048, 1, 1], whatever the size."""
        return CODES, 1, 1

    def loss(self, images: Tensor) -> Tensor:
        """Binary cross-entropy plus KL divergence to a unit Gaussian, in nats a pixel value (Kingma, Welling 2014)."""
        mean, log_variance = self._posterior(images)
        log_variance = log_variance.clamp(-16, 8)  # keeps an early outlier from overflowing the exponential
        sample = mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
        logits = self._logits(torch.sigmoid(sample)).float()
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum() / images.numel()
        return functional.binary_cross_entropy_with_logits(logits, images) + divergence

    def fold(self) -> None:
        """Also drops the variance, which only training asks for."""
        if not self.folded:
            del self.log_variance
        super().fold()

    @torch.no_grad()
    def initialise(self, images: Tensor) -> None:
        """Start with a narrow posterior: at the prior's own width the code carries nothing and training stalls."""
        self.log_variance.bias.fill_(-4.0)
