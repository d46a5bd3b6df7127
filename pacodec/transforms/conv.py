"""conv4 and conv5 of the study: stages of two 3x3 convolutions, the second of stride 2, mirrored by transposed ones.

Fully convolutional, so any frame size will do. Unlike the study's, the latents end in a sigmoid instead of batch
normalisation and ReLU (the code is bounded), and the output layer is linear.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pacodec.transforms.autoencoder import Autoencoder
from pacodec.transforms.layers import ConvUnit, pad_to_multiple

FIRST_CHANNELS = 16


class ConvAutoencoder(Autoencoder):
    """`stages` halvings with channels 16, 32, 64, ...; an H x W image has latents [C, H / 2^stages, W / 2^stages]."""

    learning_rate = 2e-3

    def __init__(self, stages: int, *, folded: bool = False) -> None:
        super().__init__()
        self.stages, self.folded = stages, folded
        channels = [FIRST_CHANNELS << stage for stage in range(stages)]
        self.latent_channels = channels[-1]
        down: list[nn.Module] = []
        up: list[nn.Module] = []
        for inputs, outputs in zip([3, *channels], channels, strict=False):
            down += [ConvUnit(inputs, outputs, folded=folded), ConvUnit(outputs, outputs, 2, folded=folded)]
            narrow = nn.Conv2d(outputs, 3, 3, 1, 1) if inputs == 3 else ConvUnit(outputs, inputs, folded=folded)
            up = [ConvUnit(outputs, outputs, up=True, folded=folded), narrow, *up]
        down[-1] = nn.Conv2d(channels[-1], channels[-1], 3, 2, 1)
        self.encoder, self.decoder = nn.Sequential(*down), nn.Sequential(*up)

    @property
    def hyperparameters(self) -> Mapping[str, int]:
        """None: the architecture's name says all."""
        return {}

    def encode(self, images: Tensor) -> Tensor:
        """Pads to a multiple of 2^stages, so that the grid covers the whole image."""
        return torch.sigmoid(self.encoder(pad_to_multiple(images, 1 << self.stages)).float())

    def decode(self, latents: Tensor) -> Tensor:
        """The padded image; the caller crops."""
        images: Tensor = self.decoder(latents)
        return images

    def grid(self, height: int, width: int) -> tuple[int, int, int]:
        """Each side divided by 2^stages, rounded up."""
        return self.latent_channels, -(-height >> self.stages), -(-width >> self.stages)
