"""The learned predictor's network while it is trained: in floats, at the end in floats that are scaled integers."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from pacodec.integer_layer import MAX_ACTIVATION
from pacodec.learning.first_layer import first_layer
from pacodec.learning.rounding import (
    LOGIT_BITS,
    Rows,
    activate,
    bits_for,
    rounded,
    rounded_embedding,
    rounded_rows,
)
from pacodec.learning.samples import Batch, positions
from pacodec.predictors.network import CODES, EDGE, EMBEDDED, MAX_EMBEDDED, UNKNOWN, Geometry
from pacodec.predictors.passes import PASSES

IMPOSSIBLE = -30.0
"""Logit of a code that cannot be."""
PERCENTILE = 0.999
"""Share of the activations that fit into 8 bits."""
SPREAD = 0.5
"""Standard deviation of the embedding at first."""


class PredictorNetwork(nn.Module):
    """From the codes around n pixels to the log-odds that each stays as it was, and what it becomes if not."""

    def __init__(self, geometry: Geometry, palette: Tensor) -> None:
        """`palette`: uint8 [K, 3], the colours of the codes."""
        super().__init__()
        self.geometry, self.colours = geometry, len(palette)
        hidden = geometry.hidden
        self.embedding = nn.Parameter(_coloured(palette, geometry.embedding))
        self.first = nn.Linear(positions(geometry) * geometry.embedding, hidden, bias=False)
        self.pass_bias = nn.Parameter(torch.zeros(PASSES, hidden))
        self.hidden = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(geometry.layers))
        self.gate = nn.Linear(hidden, 1)
        self.codes = nn.Linear(hidden, CODES)
        self.activation_bits: Tensor
        self.register_buffer("activation_bits", torch.zeros(geometry.layers + 1, dtype=torch.int64))
        self.rounds = False
        """Whether weights and activations are rounded as those of the integer network."""
        self.product_type = torch.float32
        """Of hidden layers while training; bfloat16 holds the factors of a rounded network exactly, not its sums."""

    @torch.no_grad()
    def calibrate(self, batch: Batch) -> None:
        """Choose how activations are scaled, by those of a batch; from here on all is rounded."""
        self.rounds = False
        for index, values in enumerate(self.hidden_layers(batch, self.layers())):
            top = torch.quantile(values.flatten()[: 1 << 23], PERCENTILE) if len(batch) else torch.ones(())
            self.activation_bits[index] = int(bits_for(top.clamp_min(1e-3), MAX_ACTIVATION))
        self.rounds = True

    def layers(self) -> dict[str, Rows]:
        """Weights and biases of first, hidden1 .., gate and codes; rounded if the network `rounds`."""
        inner = [layer for layer in self.hidden if isinstance(layer, nn.Linear)]
        plain = {"first": (self.first.weight, self.pass_bias)}
        plain |= {f"hidden{number}": (layer.weight, layer.bias) for number, layer in enumerate(inner, 1)}
        plain |= {"gate": (self.gate.weight, self.gate.bias), "codes": (self.codes.weight, self.codes.bias)}
        if not self.rounds:
            return {name: Rows(weight, bias, torch.zeros(len(weight))) for name, (weight, bias) in plain.items()}
        inside = self.scales()
        inputs = [*inside, inside[-1]]
        outputs = [*inside[1:], LOGIT_BITS, LOGIT_BITS]
        most = [MAX_EMBEDDED] + [MAX_ACTIVATION] * (len(plain) - 1)
        return {
            name: rounded_rows(weight, bias, scale, limit, out)
            for (name, (weight, bias)), scale, limit, out in zip(plain.items(), inputs, most, outputs, strict=True)
        }

    def scales(self) -> list[int]:
        """Bits behind the point of the embedding and of each hidden layer's activations."""
        return [rounded_embedding(self.embedding)[1], *self.activation_bits.tolist()]

    def hidden_layers(self, batch: Batch, layers: Mapping[str, Rows]) -> list[Tensor]:
        """The activations of every hidden layer, float32 [n, hidden]."""
        embedding = rounded_embedding(self.embedding)[0] if self.rounds else self.embedding
        first = layers["first"]
        product = self.product_type if self.training else torch.float32
        sums = first_layer(embedding.to(product), first.weight.to(product), batch.windows) + first.bias[batch.passes]
        outputs = [self._activate(sums, 0)]
        for index in range(1, len(self.hidden) + 1):
            rows = layers[f"hidden{index}"]
            sums = functional.linear(outputs[-1].to(product), rows.weight.to(product)).float() + rows.bias
            outputs.append(self._activate(sums, index))
        return outputs

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Bits that the batch takes: of which pixels keep the last grid's code, and of what the others become."""
        layers = self.layers()
        hidden = self.hidden_layers(batch, layers)[-1]
        same = batch.codes == batch.last
        gates = self._logits(hidden, layers["gate"])[:, 0]
        weights = batch.weights
        gate_bits = functional.binary_cross_entropy_with_logits(gates, same.float(), weights, reduction="sum")
        changed = torch.nonzero(~same)[:, 0]
        choices = self._logits(hidden[changed], layers["codes"])[:, : self.colours]
        choices = choices.scatter(1, batch.last[changed, None], IMPOSSIBLE)
        code_bits = functional.cross_entropy(choices, batch.codes[changed], reduction="none") @ weights[changed]
        return gate_bits / math.log(2), code_bits / math.log(2)

    def _activate(self, sums: Tensor, index: int) -> Tensor:
        return activate(sums, int(self.activation_bits[index])) if self.rounds else functional.relu(sums)

    def _logits(self, hidden: Tensor, rows: Rows) -> Tensor:
        sums = functional.linear(hidden, rows.weight, rows.bias)
        return rounded(sums, LOGIT_BITS) if self.rounds else sums


def _coloured(palette: Tensor, width: int) -> Tensor:
    """Rows [258, width] of the embedding at first: like colours are alike in three of the numbers."""
    rows = torch.zeros(EMBEDDED, width)
    used = [*range(len(palette)), UNKNOWN, EDGE]
    rows[used] = torch.randn(len(used), width) * SPREAD
    if width > 3:
        colours = palette.float() / 255
        rows[: len(palette), :3] = (colours - colours.mean(0)) / colours.std().clamp_min(1e-3) * SPREAD
    return rows
