"""Quantization learned inside the network: the rounding is part of the encoder, its steps are trained with the rest.

Each channel has `levels` levels from `low` on, `step` apart, both learned by a straight-through gradient (Esser et al.
2020, Learned step size quantization). What the encoder gives out is the level as k / (levels - 1), so that any
quantizer of the format keeps it exactly: k-means with as many centroids, or naive where levels - 1 divides 255.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from pacodec.autoencoders.autoencoder import Autoencoder, Phase

SAMPLES = 1 << 14
ENCODED = 64
"""Images that the levels are chosen from that are encoded at a time."""
CLIPPING = tuple(0.3 + 0.05 * n for n in range(15))
"""Shares of a channel's range that are tried as the first range of its levels."""


class LearnedQuantization(Autoencoder):
    """An autoencoder with its own quantizer of `levels` levels between encoder and decoder."""

    phases = (Phase(1.0, 2e-4),)

    def __init__(self, inner: Autoencoder, levels: int, *, folded: bool = False) -> None:
        super().__init__()
        self.inner, self.levels, self.size, self.folded = inner, levels, inner.size, folded
        self.settled = inner.settled
        channels, rows, columns = inner.grid(*(inner.size or (32, 32)))
        places = rows * columns if inner.size else 1  # a network of any size has one quantizer for all places
        self.low = nn.Parameter(torch.zeros(channels, places))
        self.step = nn.Parameter(torch.full((channels, places), 1 / (levels - 1)))

    @property
    def hyperparameters(self) -> Mapping[str, int]:
        """Those of the network inside, and the number of levels."""
        return {**self.inner.hyperparameters, "levels": self.levels}

    def encode(self, images: Tensor) -> Tensor:
        """The level of each latent, as k / (levels - 1)."""
        latents = self.inner.encode(images)
        low, step = self._spread(latents)
        position = ((latents - low) / step).clamp(0, self.levels - 1)
        rounded = position + (torch.round(position) - position).detach()  # straight through
        return rounded / (self.levels - 1)

    def decode(self, latents: Tensor) -> Tensor:
        """The images that levels of latents stand for."""
        low, step = self._spread(latents)
        return self.inner.decode(low + latents * (self.levels - 1) * step)

    def _spread(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Lowest level and step of each latent."""
        shape = (len(self.low), *latents.shape[2:]) if self.inner.size else (len(self.low), 1, 1)
        return self.low.reshape(shape), self.step.clamp_min(1e-4).reshape(shape)

    def grid(self, height: int, width: int) -> tuple[int, int, int]:
        """The grid of the network inside."""
        return self.inner.grid(height, width)

    def loss(self, images: Tensor) -> Tensor:
        """The mean squared error of images that went through the levels."""
        made = self.decode(self.encode(images))[..., : images.shape[2], : images.shape[3]]
        return functional.mse_loss(made.float(), images)

    @torch.no_grad()
    def initialise(self, images: Tensor) -> None:
        """Start each channel's levels where they cost least on the sample, for the network as it is."""
        if not self.inner.size:  # each place of an image is a sample
            rows, columns = self.inner.grid(*images.shape[2:])[1:]
            images = images[:: max(1, len(images) * rows * columns // SAMPLES)]
        latents = torch.cat([self.inner.encode(part) for part in torch.split(images, ENCODED)])
        values = latents.flatten(1) if self.inner.size else latents.permute(0, 2, 3, 1).flatten(0, 2)  # [N, values]
        values = values.reshape(len(values), -1)
        if len(values) > SAMPLES:
            values = values[:: len(values) // SAMPLES]
        middle, lowest, highest = values.mean(0), values.amin(0), values.amax(0)
        best = torch.full_like(middle, torch.inf)
        low, step = torch.zeros_like(middle), torch.ones_like(middle)
        for share in CLIPPING:
            width = share * (highest - lowest).clamp_min(2e-3) / (self.levels - 1)
            start = middle + share * (lowest - middle)
            levels = ((values - start) / width).clamp(0, self.levels - 1).round()
            cost = (start + levels * width - values).square().mean(0)
            better = cost < best
            best, low, step = best.where(~better, cost), low.where(~better, start), step.where(~better, width)
        self.low.copy_(low.reshape(self.low.shape))
        self.step.copy_(step.reshape(self.step.shape))

    def fold(self) -> None:
        """Fold the normalisation of the network inside."""
        self.inner.fold()
        self.folded = True
