"""The first layer, where nearly all of the time goes: embedding and matrix product in one, with a cheaper gradient."""

from typing import Any

import torch
from torch import Tensor

EMBEDDING_SHARE = 8
"""The embedding learns from one pixel of so many, scaled up: its gradient would take as long as all else together."""


class _FirstLayer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, embedding: Tensor, weight: Tensor, windows: Tensor) -> Tensor:
        inputs = _embed(embedding, windows)
        ctx.save_for_backward(inputs, weight, windows)
        ctx.rows = len(embedding)
        return (inputs @ weight.t()).float()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        inputs, weight, windows = ctx.saved_tensors
        (gradient,) = (part.to(weight.dtype) for part in gradients)
        learning = -(-len(windows) // EMBEDDING_SHARE)
        codes = windows[:learning].flatten()
        width = inputs.shape[1] // windows.shape[1]
        pulls = (gradient[:learning] @ weight).float().view(-1, width)
        share = len(windows) / max(1, learning)
        # Several times faster than the gradient of torch's own embedding.
        sums = [torch.bincount(codes, pulls[:, column], ctx.rows) for column in range(width)]
        return torch.stack(sums, 1).to(weight.dtype) * share, gradient.t() @ inputs, None


def first_layer(embedding: Tensor, weight: Tensor, windows: Tensor) -> Tensor:
    """float32 [n, hidden]: the product of weight [hidden, positions * E] and the rows of the embedding [codes, E] that
    windows, int32 [n, positions], name. Pixels are in random order.
    """
    product: Tensor = _FirstLayer.apply(embedding, weight, windows)  # type: ignore[no-untyped-call]
    return product


def _embed(embedding: Tensor, windows: Tensor) -> Tensor:
    return embedding.index_select(0, windows.flatten()).view(len(windows), windows.shape[1] * embedding.shape[1])
