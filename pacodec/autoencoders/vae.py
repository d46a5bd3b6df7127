"""The study's variational autoencoder: four stride-2 convolutions, a Gaussian posterior over 2,048 values, mirrored.

The Gaussian passes a sigmoid on its way to the decoder, which bounds the code and changes nothing else: the decoder's
first linear layer follows it.

It is trained in two phases: the convolutions alone, from a linear start, and then all of it, with the linear layers
between them starting at the principal components of the convolutions' features.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pacodec.autoencoders.autoencoder import FixedSizeAutoencoder, Phase
from pacodec.autoencoders.layers import ConvUnit, GroupLinear, principal_directions
from pacodec.autoencoders.pyramid import analyse, regress, synthesise

CHANNELS = (16, 32, 64, 128)
CODES = 2048
STRIDE = 1 << len(CHANNELS)
VARIANCE_RANK = 16
"""Rank of the layer that foresees the variance: only training asks for it."""
DIVERGENCE_WEIGHT = 0.003
"""Of the KL divergence (beta of Higgins et al. 2017). At 1, by a rough estimate, the Bernoulli likelihood takes for
noise whatever has less energy than a quarter of a squared pixel value. Other small weights have not been compared."""
SPREAD = 0.5
"""Standard deviation of a code at the start: the sigmoid is still close to linear at four times that."""
CONVOLUTIONS, WHOLE = 0, 1
"""Phases of the training."""
SLOPE = 6.0
"""Of the first logits of pixel values: steep enough to nearly reach black and white, shallow enough to learn from."""
FEATURE_BATCH = 64
PYRAMID_FRAMES = 64
"""Frames that the convolutions start from."""


class VariationalAutoencoder(FixedSizeAutoencoder):
    """Works at one frame size; its three linear layers may be factorised (`rank`, 0 for full matrices)."""

    phase = WHOLE
    phases = (Phase(0.75, 1.5e-3), Phase(0.25, 2e-5))
    settled = 0.85
    """In one run at 0.5, while steps were still large, PSNR fell by 16 dB, and 600 steps did not win it back."""

    def __init__(self, height: int = 200, width: int = 160, rank: int = 256, *, folded: bool = False) -> None:
        super().__init__()
        self.size, self.rank, self.folded = (height, width), rank, folded
        self.inner = (CHANNELS[-1], -(-height // STRIDE), -(-width // STRIDE))
        features = self.inner[0] * self.inner[1] * self.inner[2]
        widths = (3, *CHANNELS)
        self.down = nn.Sequential(*(ConvUnit(a, b, 2, folded=folded) for a, b in zip(widths, CHANNELS, strict=False)))
        self.mean = GroupLinear(1, features, CODES, rank)
        if not folded:
            self.log_variance = GroupLinear(1, features, CODES, VARIANCE_RANK)
        self.back = GroupLinear(1, CODES, features, rank)
        ups = [ConvUnit(b, a, up=True, folded=folded) for a, b in zip(widths[1:], CHANNELS[1:], strict=False)]
        self.up = nn.Sequential(*reversed(ups), nn.ConvTranspose2d(CHANNELS[0], 3, 3, 2, 1, output_padding=1))

    def _features(self, images: Tensor) -> Tensor:
        """What the convolutions see, [1, N, features]."""
        return cast(Tensor, self.down(images)).flatten(1)[None].float()

    def encode(self, images: Tensor) -> Tensor:
        """The sigmoid of the posterior's mean, [N, 2048, 1, 1]."""
        return torch.sigmoid(self.mean(self._features(images))[0].float())[..., None, None]

    def _logits(self, features: Tensor) -> Tensor:
        """Logits of images of the network's own size, of features [1, N, features]."""
        logits: Tensor = self.up(functional.relu(features[0]).reshape(-1, *self.inner))
        height, width = self.size
        return logits[..., :height, :width]

    def decode(self, latents: Tensor) -> Tensor:
        """Images of the size that the network was made for."""
        return torch.sigmoid(self._logits(self.back(latents.flatten(1)[None])).float())

    def grid(self, height: int, width: int) -> tuple[int, int, int]:
        """The shape [2048, 1, 1] of the latents, which does not depend on the picture's size."""
        return CODES, 1, 1

    def reproduce(self, images: Tensor) -> Tensor:
        """Images through the network; in the first phase of training without its linear layers."""
        if self.phase == WHOLE:
            return super().reproduce(images)
        return torch.sigmoid(self._logits(self._features(images)).float())

    def loss(self, images: Tensor) -> Tensor:
        """Binary cross-entropy plus the weighted KL divergence to a unit Gaussian, in nats a pixel value.

        (Kingma, Welling 2014.) In the first phase the cross-entropy of what the convolutions alone make of the images.
        A folded network, which goes on from trained weights, knows no variance: its codes are the posterior's mean.
        """
        features = self._features(images)
        if self.phase == CONVOLUTIONS:
            return functional.binary_cross_entropy_with_logits(self._logits(features).float(), images)
        mean = self.mean(features)[0].float()
        if self.folded:
            logits = self._logits(self.back(torch.sigmoid(mean)[None])).float()
            return functional.binary_cross_entropy_with_logits(logits, images)
        log_variance = self.log_variance(features)[0].float()
        log_variance = log_variance.clamp(-16, 8)  # keeps an early outlier from overflowing the exponential
        sample = mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
        logits = self._logits(self.back(torch.sigmoid(sample)[None])).float()
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum() / images.numel()
        loss: Tensor = functional.binary_cross_entropy_with_logits(logits, images) + DIVERGENCE_WEIGHT * divergence
        return loss

    def fold(self) -> None:
        """Fold the normalisation, and drop the variance, which only training asks for."""
        if not self.folded:
            del self.log_variance
        super().fold()

    @torch.no_grad()
    def initialise(self, images: Tensor) -> None:
        """Start the convolutions as a linear pyramid."""
        few = images[:: max(1, len(images) // PYRAMID_FRAMES)]
        values, shift = few, torch.zeros(3)
        seen: list[Tensor] = []
        for unit in cast("list[ConvUnit]", list(self.down)):
            values, shift = analyse(unit, values, shift)
            seen.append(values)
        *units, last = list(self.up)
        values = synthesise(cast("list[ConvUnit]", units), values, seen[-2::-1])
        regress(cast(nn.ConvTranspose2d, last), values, SLOPE * (few - 0.5))

    @torch.no_grad()
    def begin_phase(self, images: Tensor) -> None:
        """The second phase starts at the principal components of the features."""
        training = self.training
        self.eval()
        seen = torch.cat([self._features(part)[0] for part in torch.split(images, FEATURE_BATCH)])  # [N, features]
        self.train(training)
        self._start_codes(seen)

    def _start_codes(self, seen: Tensor) -> None:
        """Make codes the principal components of the features, and the way back a regression from their sigmoids."""
        mean = seen.mean(0)
        kept = max(1, min(CODES, self.rank or CODES, len(seen) - 1))
        directions = principal_directions((seen - mean)[None], kept)[0]
        scores = (seen - mean) @ directions.T
        scale = SPREAD / scores.std(0, correction=0).clamp_min(1e-6)
        self.mean.assign((directions * scale[:, None])[None], (-(directions @ mean) * scale)[None, None])
        if not self.folded:
            self.log_variance.assign(torch.zeros(1, 1, seen.shape[1]), torch.zeros(1, 1, 1))
            self.log_variance.bias.fill_(-8.0)  # a wide posterior drowns what the code says before it is read
        codes = torch.sigmoid(scores * scale)
        centre = codes.mean(0)
        centred = codes - centre
        covariance = centred.T @ centred
        ridge = (1e-4 * covariance.diagonal().mean() + 1e-9) * torch.eye(len(covariance))
        slopes = torch.linalg.solve(covariance + ridge, centred.T @ scores)  # scores from codes, [codes, codes]
        weight = (slopes @ directions).T  # [features, codes]
        self.back.assign(weight[None], (mean - weight @ centre)[None, None])

    @torch.no_grad()
    def take_over(self, model: "VariationalAutoencoder") -> None:
        """Become what the first codes of a trained network make, as many as the rank: they are its most important ones.

        The other codes stay at one half, where the sigmoid has them on average.
        """
        self.down.load_state_dict(model.down.state_dict())
        self.up.load_state_dict(model.up.state_dict())
        kept = self.rank or CODES
        self.mean.assign(model.mean.weight[:, :kept], model.mean.bias[..., :kept])
        back = model.back.weight
        self.back.assign(back[..., :kept], model.back.bias + back[..., kept:].sum(-1)[:, None] / 2)
