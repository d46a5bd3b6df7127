"""What every autoencoder of the registry offers, and nothing about how it is trained or stored."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from pacodec.autoencoders.layers import ConvUnit

LEVELS = 255
"""Steps of an 8-bit code of a latent in [0, 1]."""


class Phase(NamedTuple):
    """One phase of a network's training."""

    share: float
    """Of the steps, or of the time."""
    learning_rate: float
    """At its top."""


class Autoencoder(nn.Module, ABC):
    """A pair of networks, images to latents in [0, 1] and back.

    The bound on the latents is part of each network, so that an 8-bit code of them (the study's naive quantizer) is
    meaningful. Images are float [N, 3, H, W] in [0, 1]; latents are float [N, C, h, w].
    """

    size: tuple[int, int] | None = None
    """(height, width) that a fixed-size network works at; None where any size will do."""
    folded: bool = False
    """True once normalisation is part of the weights."""
    phase: int = 0
    """The one that it is in."""
    phases: ClassVar[tuple[Phase, ...]] = (Phase(1.0, 1e-3),)
    """Of its training."""
    settled: float = 0.5
    """Share of a phase's steps after which normalisation keeps its statistics, those that the network will be used
    with: from random weights `conv4` and `conv5` gained 1.3 dB by it."""

    @property
    @abstractmethod
    def hyperparameters(self) -> Mapping[str, int]:
        """What `build` needs, beside the architecture's name, to make a network of the same shape."""

    @abstractmethod
    def encode(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] to latents [N, C, h, w] in [0, 1]."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Latents to images, of a size that is H x W rounded up to what the strides need."""

    @abstractmethod
    def grid(self, height: int, width: int) -> tuple[int, int, int]:
        """(C, h, w) of the latents of a height x width image."""

    def loss(self, images: Tensor) -> Tensor:
        """Mean squared error with uniform noise of one quantization step on the latents.

        The noise stands for the quantizer, which has no gradient (Balle et al. 2017, End-to-end optimized image
        compression, section 3.1); without it nothing keeps a network from using a sliver of the code's range.
        """
        latents = self.encode(images)
        noisy = latents + (torch.rand_like(latents) - 0.5) / LEVELS
        return functional.mse_loss(self.decode(noisy)[..., : images.shape[2], : images.shape[3]].float(), images)

    def initialise(self, images: Tensor) -> None:
        """Choose starting weights from a sample of training images; by default the random ones stay."""

    def begin_phase(self, images: Tensor) -> None:
        """Make ready for the phase of the training that comes, given a sample of training images."""

    def reproduce(self, images: Tensor) -> Tensor:
        """Images as 8-bit codes give them back: what training validates."""
        codes = torch.round(self.encode(images) * LEVELS)
        return self.decode(codes / LEVELS)[..., : images.shape[2], : images.shape[3]].float()

    def fold(self) -> None:
        """Make normalisation part of the weights; the network can no longer be trained."""
        for module in self.modules():
            if isinstance(module, ConvUnit):
                module.fold()
        self.folded = True


class FixedSizeAutoencoder(Autoencoder):
    """One that works at one frame size, whose layers may be factorised."""

    size: tuple[int, int]
    rank: int

    @property
    def hyperparameters(self) -> Mapping[str, int]:
        """The frame size and the rank of the linear layers."""
        height, width = self.size
        return {"height": height, "width": width, "rank": self.rank}
