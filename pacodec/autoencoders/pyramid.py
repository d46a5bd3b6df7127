"""A linear start for stacks of stride-2 convolutions: each level keeps the principal components of 2 x 2 cells.

The way back is found level by level, by regression. What results is a linear autoencoder whose ReLUs change nothing:
what random weights take hundreds of steps to become, and a place from which the nonlinear network is found. (conv4 at
160 x 200: 23.6 dB before the first step.)
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pacodec.autoencoders.layers import ConvUnit

MARGIN = 0.1
"""Standard deviations that a feature stays over zero on the sample."""
RIDGE = 1e-6
TAPS = (((1, 0),), ((2, 0), (0, 1)))
"""(kernel index, input offset) of what reaches an even and an odd output of a transposed convolution 3, stride 2."""


@torch.no_grad()
def analyse(unit: ConvUnit, values: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Make a stride-2 unit give the principal components of the 2 x 2 cells of `values - shift`.

    Looks at the first channels alone, as many as `shift` [C] has. Returns what the unit gives and its shift: how far
    each channel is raised to be positive.
    """
    bases = cell_components(values[:, : len(shift)] - shift[:, None, None], unit.conv.out_channels)
    # Channels beyond the components stay as chance made them.
    unit.conv.weight[: len(bases)] = 0
    unit.conv.weight[: len(bases), : len(shift), 1:, 1:] = bases
    cast(Tensor, unit.conv.bias).zero_()
    raw = unit.conv(values)
    lift = MARGIN * raw.std((0, 2, 3), correction=0) - raw.amin((0, 2, 3))
    normalise(unit, raw, lift)
    return functional.relu(raw + lift[:, None, None]), unit.conv.weight.sum((2, 3))[:, : len(shift)] @ shift + lift


def cell_components(x: Tensor, k: int) -> Tensor:
    """At most k principal components, of the second moment, of the 2 x 2 cells of x [N, C, H, W]: [k, C, 2, 2]."""
    n, channels, height, width = x.shape
    even = x[..., : height // 2 * 2, : width // 2 * 2]
    cells = even.reshape(n, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(-1, 4 * channels)
    moment = (cells.T @ cells).double()
    moment += (RIDGE * moment.diagonal().mean() + RIDGE) * torch.eye(len(moment))  # flat pictures have no components
    components: Tensor = torch.linalg.eigh(moment)[1].flip(-1)[:, :k].T.float()
    return components.reshape(-1, channels, 2, 2)


@torch.no_grad()
def pass_on(unit: ConvUnit, values: Tensor, kept: int) -> Tensor:
    """Make a stride-1 unit's first channels copies of the `kept` first of `values`; what it gives.

    The unit's other channels see what chance made them see.
    """
    unit.conv.weight[:kept] = 0
    unit.conv.weight[range(kept), range(kept), 1, 1] = 1
    cast(Tensor, unit.conv.bias)[:kept] = 0
    raw = unit.conv(values)
    normalise(unit, raw, torch.zeros(raw.shape[1]))
    return functional.relu(raw)


def normalise(unit: ConvUnit, raw: Tensor, lift: Tensor) -> None:
    """Make batch normalisation add `lift` a channel and change nothing else."""
    norm = cast(nn.BatchNorm2d, unit.norm)
    mean, deviation = raw.mean((0, 2, 3)), raw.std((0, 2, 3), correction=0).clamp_min(1e-3)
    cast(Tensor, norm.running_mean).copy_(mean)
    cast(Tensor, norm.running_var).copy_(deviation.square())
    norm.weight.copy_(torch.sqrt(deviation.square() + norm.eps))
    norm.bias.copy_(mean + lift)


@torch.no_grad()
def synthesise(units: Sequence[ConvUnit], values: Tensor, wanted: Sequence[Tensor]) -> Tensor:
    """Make transposed units give `wanted`, one after the other, as their first channels; what the last one gives."""
    for unit, target in zip(units, wanted, strict=True):
        raw = regress(cast(nn.ConvTranspose2d, unit.conv), values, target)
        normalise(unit, raw, torch.zeros(raw.shape[1]))
        values = functional.relu(raw)
    return values


@torch.no_grad()
def regress(conv: nn.ConvTranspose2d, values: Tensor, wanted: Tensor) -> Tensor:
    """Make the first channels of a transposed convolution the best linear map of `values` to `wanted` [N, C, H, W], of
    twice the size; what it gives, of the size of `wanted`."""
    height, width = wanted.shape[2:]
    padded = functional.pad(values, (0, 1, 0, 1))
    conv.weight[:, : wanted.shape[1]] = 0
    cast(Tensor, conv.bias).zero_()
    for py in (0, 1):
        for px in (0, 1):
            rows, columns = (height + 1 - py) // 2, (width + 1 - px) // 2
            taps = [(ky, kx, sy, sx) for ky, sy in TAPS[py] for kx, sx in TAPS[px]]
            inputs = torch.cat([padded[..., sy : sy + rows, sx : sx + columns] for *_, sy, sx in taps], 1)
            a = inputs.transpose(0, 1).flatten(1)  # [taps * inputs, samples]
            b = wanted[..., py::2, px::2].transpose(0, 1).flatten(1)
            square = (a @ a.T).double()
            ridge = (RIDGE * square.diagonal().mean() + RIDGE) * torch.eye(len(square), dtype=torch.float64)
            weight = torch.linalg.solve(square + ridge, (a @ b.T).double()).float()  # [taps * inputs, outputs]
            for (ky, kx, *_), part in zip(taps, weight.split(values.shape[1]), strict=True):
                conv.weight[:, : wanted.shape[1], ky, kx] = part
    return cast(Tensor, conv(values))[..., :height, :width]
