"""What several architectures share: block decomposition, factorised linear layers, normalisation that folds away."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

NO_ENERGY = 1e-6
"""Share of the largest eigenvalue under which one is a rounding error."""
LEAST_NORM = 1e-12
"""Of a row or column of weights, so that one of zeros can be divided by it."""


def to_blocks(images: Tensor, rows: int, columns: int) -> Tensor:
    """Cut [N, 3, H, W] into a rows x columns lattice of blocks: [rows * columns, N, 3 * (H / rows) * (W / columns)]."""
    n, channels, height, width = images.shape
    lattice = images.reshape(n, channels, rows, height // rows, columns, width // columns)
    return lattice.permute(2, 4, 0, 1, 3, 5).reshape(rows * columns, n, -1)


def from_blocks(blocks: Tensor, rows: int, columns: int, height: int, width: int) -> Tensor:
    """Undo `to_blocks`: [rows * columns, N, 3 * ...] to [N, 3, height, width]."""
    n = blocks.shape[1]
    lattice = blocks.reshape(rows, columns, n, 3, height // rows, width // columns)
    return lattice.permute(2, 3, 0, 4, 1, 5).reshape(n, 3, height, width)


def principal_directions(x: Tensor, k: int) -> Tensor:
    """The k directions of largest variance of centred samples [G, N, D], as orthonormal rows [G, min(k, N, D), D].

    By the N x N Gram matrix: samples are fewer than dimensions here, and its eigenvectors cost a tenth of an SVD. Rows
    in which the samples do not vary are zero.
    """
    values, vectors = torch.linalg.eigh(x @ x.mT)  # ascending
    k = min(k, x.shape[1], x.shape[2])
    leading = vectors[..., -k:].flip(-1)
    energy = values[..., -k:].flip(-1)[..., None]
    varies = energy > NO_ENERGY * values[..., -1:, None]
    directions: Tensor = torch.where(varies, (leading.mT @ x) / energy.clamp_min(1e-12).sqrt(), 0)
    return directions


class GroupLinear(nn.Module):
    """`groups` independent linear layers side by side: [G, N, in] to [G, N, out].

    With `rank`, each weight is the product of an [out, rank] and a [rank, in] factor: on a fixed screen the
    fully-connected networks use few of their dimensions, and their weights shrink by the same factor.
    """

    def __init__(self, groups: int, inputs: int, outputs: int, rank: int = 0) -> None:
        super().__init__()
        self.rank = rank if 0 < rank < min(inputs, outputs) else 0
        shapes = (
            [(groups, self.rank, inputs), (groups, outputs, self.rank)] if self.rank else [(groups, outputs, inputs)]
        )
        self.factors = nn.ParameterList([nn.Parameter(torch.empty(shape)) for shape in shapes])
        self.bias = nn.Parameter(torch.zeros(groups, 1, outputs))
        for factor in self.factors:
            nn.init.normal_(factor, std=1 / math.sqrt(factor.shape[-1]))

    def forward(self, x: Tensor) -> Tensor:
        """Apply each group's layer to its own rows."""
        for factor in self.factors[:-1]:
            x = x @ factor.mT
        return torch.baddbmm(self.bias, x, self.factors[-1].mT)

    @property
    def weight(self) -> Tensor:
        """The matrices [G, out, in], multiplied out where they are factorised."""
        product: Tensor = self.factors[0]
        for factor in self.factors[1:]:
            product = factor @ product
        return product

    def assign(self, weight: Tensor, bias: Tensor) -> None:
        """Make the first outputs a given function [G, o, i] of the first inputs, and of nothing else.

        o or i must not be more than the rank: then it needs no decomposition, and those of LAPACK may fail where
        singular values repeat, as they do when components share a unit.
        """
        outputs, inputs = weight.shape[1:]
        self.bias[..., :outputs] = bias
        if not self.rank:
            self.factors[0][:, :outputs] = 0
            self.factors[0][:, :outputs, :inputs] = weight
            return
        assert min(outputs, inputs) <= self.rank
        for factor in self.factors:
            factor.zero_()
        wide = outputs <= inputs
        balance = weight.norm(dim=2 if wide else 1).clamp_min(LEAST_NORM).sqrt()  # the factors get a half each
        if wide:
            self.factors[0][:, :outputs, :inputs] = weight / balance[..., None]
            self.factors[1][:, :outputs, :outputs] = torch.diag_embed(balance)
        else:
            self.factors[0][:, :inputs, :inputs] = torch.diag_embed(balance)
            self.factors[1][:, :outputs, :inputs] = weight / balance[:, None]


class ConvUnit(nn.Module):
    """A 3x3 convolution (or its transpose, which doubles the size), batch normalisation and ReLU.

    After `fold` the normalisation is part of the weights, as model files store it.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1, *, up: bool = False, folded: bool = False) -> None:
        super().__init__()
        self.conv: nn.Conv2d | nn.ConvTranspose2d
        if up:
            self.conv = nn.ConvTranspose2d(inputs, outputs, 3, 2, 1, output_padding=1)
        else:
            self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.norm: nn.Module = nn.Identity() if folded else nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, H', W'], never negative."""
        return functional.relu(self.norm(self.conv(x)), inplace=True)

    def fold(self) -> None:
        """Move the normalisation's running statistics into the convolution."""
        norm = self.norm
        if not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None or norm.running_var is None:
            return
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        shape = (1, -1, 1, 1) if isinstance(self.conv, nn.ConvTranspose2d) else (-1, 1, 1, 1)
        bias = torch.zeros_like(scale) if self.conv.bias is None else self.conv.bias
        self.conv.weight.data = self.conv.weight.data * scale.reshape(shape)
        self.conv.bias = nn.Parameter((bias - norm.running_mean) * scale + norm.bias)
        self.norm = nn.Identity()


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column of [N, C, H, W] until both sides are multiples of `multiple`."""
    down, right = -x.shape[2] % multiple, -x.shape[3] % multiple
    return functional.pad(x, (0, right, 0, down), mode="replicate") if down or right else x
