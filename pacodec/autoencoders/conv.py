"""conv4 and conv5 of the study: stages of two 3x3 convolutions, the second of stride 2, mirrored by transposed ones.

Fully convolutional, so any frame size will do. Unlike the study's, the latents end in a sigmoid instead of batch
normalisation and ReLU (the code is bounded), and the output layer is linear.
"""

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from pacodec.autoencoders.autoencoder import Autoencoder, Phase
from pacodec.autoencoders.layers import ConvUnit, pad_to_multiple
from pacodec.autoencoders.pyramid import analyse, cell_components, pass_on, synthesise

FIRST_CHANNELS = 16
START_FRAMES = 128
"""Frames that the first weights are chosen from."""
SPREAD = 1.0
"""Standard deviation of a code before the sigmoid, at the start."""
LIFT = 0.1
"""How far the start keeps dark pixels over the zero at which a ReLU cuts."""


class ConvAutoencoder(Autoencoder):
    """`stages` halvings with channels 16, 32, 64, ...; an H x W image has latents [C, H / 2^stages, W / 2^stages]."""

    phases = (Phase(1.0, 1e-3),)
    settled = 0.0
    """The linear start needs no normalisation by the batch at hand. After 500 steps conv4 had 30.2 dB without it and
    27.8 with it; where its statistics were kept from half of the steps on, that once cost 16 dB."""

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
        """There are none: the name of the architecture says all."""
        return {}

    def encode(self, images: Tensor) -> Tensor:
        """Pads to a multiple of 2^stages, so that the grid covers the whole image."""
        return torch.sigmoid(self.encoder(pad_to_multiple(images, 1 << self.stages)).float())

    def decode(self, latents: Tensor) -> Tensor:
        """The padded image, which the caller crops."""
        images: Tensor = self.decoder(latents)
        return images

    def grid(self, height: int, width: int) -> tuple[int, int, int]:
        """The channels, then each side divided by 2^stages and rounded up."""
        return self.latent_channels, -(-height >> self.stages), -(-width >> self.stages)

    @torch.no_grad()
    def initialise(self, images: Tensor) -> None:
        """Start as a linear pyramid, in which the convolutions of stride 1 pass on what they are given."""
        images = pad_to_multiple(images[:: max(1, len(images) // START_FRAMES)], 1 << self.stages)
        *units, code = list(self.encoder)
        values, shift = images, torch.zeros(3)
        seen: list[Tensor] = []
        for wide, narrow in zip(units[::2], [*units[1::2], None], strict=True):
            seen.append(values)
            values = pass_on(cast(ConvUnit, wide), values, len(shift))
            if narrow is not None:
                values, shift = analyse(cast(ConvUnit, narrow), values, shift)
        values = self._start_code(cast(nn.Conv2d, code), values, shift)
        seen[0] = images + LIFT
        layers = list(self.decoder)
        for up, narrow, wanted in zip(layers[::2], layers[1::2], reversed(seen), strict=True):
            values = synthesise([cast(ConvUnit, up)], values, [wanted])
            if isinstance(narrow, ConvUnit):
                values = pass_on(narrow, values, wanted.shape[1])
        last = cast(nn.Conv2d, layers[-1])
        last.weight.zero_()
        last.weight[range(3), range(3), 1, 1] = 1
        cast(Tensor, last.bias).fill_(-LIFT)

    @staticmethod
    def _start_code(conv: nn.Conv2d, values: Tensor, shift: Tensor) -> Tensor:
        """Make the last convolution of the encoder give scaled components; the code of `values`."""
        conv.weight.zero_()
        used = len(shift)
        conv.weight[:, :used, 1:, 1:] = cell_components(values[:, :used] - shift[:, None, None], len(conv.weight))
        bias = cast(Tensor, conv.bias)
        bias.zero_()
        raw = conv(values)
        deviation = raw.std((0, 2, 3), correction=0)
        scale = SPREAD / deviation.clamp_min(0.05 * float(deviation.max()) + 1e-6)
        conv.weight.mul_(scale[:, None, None, None])
        bias.copy_(-raw.mean((0, 2, 3)) * scale)
        return torch.sigmoid(conv(values))
