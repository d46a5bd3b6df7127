"""Principal components of the blocks of a frame: the best linear code of each block, and where the networks start."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from pacodec.autoencoders.layers import principal_directions

OVERSAMPLING, POWER_ROUNDS = 100, 3
"""Of the randomised search for many components among more samples than dimensions (Halko, Martinsson, Tropp 2011)."""


@dataclass(frozen=True)
class Components:
    """The components of G blocks of D values each, most important first, with the range of their scores."""

    mean: Tensor
    """float32 [G, 1, D]."""
    directions: Tensor
    """float32 [G, k, D], orthonormal rows."""
    low: Tensor
    """float32 [G, k]."""
    high: Tensor
    """float32 [G, k]."""

    def first(self, k: int) -> "Components":
        """The k most important ones, or all."""
        return Components(self.mean, self.directions[:, :k], self.low[:, :k], self.high[:, :k])


@torch.no_grad()
def principal_components(blocks: Iterable[Tensor], k: int) -> Components:
    """The first k components of each block, of samples [N, D] that come one block at a time (fewer where N or D is)."""
    found = [_of_block(block, k) for block in blocks]
    return Components(*(torch.stack(part) for part in zip(*found, strict=True)))


def _of_block(x: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    mean = x.mean(0, keepdim=True)
    if len(x) > x.shape[1]:
        directions = _leading(x.T @ x - len(x) * mean.T @ mean, min(k, x.shape[1]))
    else:
        directions = principal_directions((x - mean)[None], k)[0]
    scores = torch.addmm(-(mean @ directions.T), x, directions.T)
    return mean, directions, scores.amin(0), scores.amax(0)


def _leading(covariance: Tensor, k: int) -> Tensor:
    """The k leading eigenvectors of a symmetric matrix [D, D], as rows, at a fraction of the cost of `eigh`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vectors = torch.svd_lowrank(covariance, min(k + OVERSAMPLING, len(covariance)), POWER_ROUNDS)[2]
    return vectors[:, :k].T.contiguous()
