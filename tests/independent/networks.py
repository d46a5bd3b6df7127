"""Section "Autoencoders": latents to pictures by the decoder networks, in plain arrays of 64-bit floats."""

import math
from collections.abc import Mapping

import numpy as np
from independent.model_file import ModelFile
from independent.refusal import Unsupported, expect
from numpy.typing import NDArray

Reals = NDArray[np.float64]
Weights = Mapping[str, Reals]
STAGES = {"conv4": 4, "conv5": 5}
BLOCKS = ("vanilla-500", "vanilla-1000", "multilayer-500", "multilayer-1000")
SIDE = 4
"""Blocks in a row and in a column."""


def latents_to_pictures(
    name: str, model: ModelFile, latents: NDArray[np.float32], height: int, width: int
) -> NDArray[np.uint8]:
    """Pictures [frames, height, width, 3] of latents [frames, channels, h, w]."""
    if name not in STAGES and name not in BLOCKS and name not in ("vae", "pca"):
        raise Unsupported(f"the transform {name} is unknown")
    expect(model.arch == name, "the transform is not the model's")
    weights = {key: value.astype(np.float64) for key, value in model.weights().items()}
    inner = (model.hyperparameters.get("height", 200), model.hyperparameters.get("width", 160))
    values = latents.astype(np.float64)
    if "levels" in model.hyperparameters:
        values = _levels(weights, model.hyperparameters["levels"], values)
        weights = {key.removeprefix("inner."): value for key, value in weights.items()}
    pictures = []
    for x in values:
        if name in STAGES:
            inner = (height, width)
            y = _convolutional(weights, STAGES[name], x)
        elif name in BLOCKS:
            y = _in_blocks(weights, x, *inner)
        elif name == "pca":
            y = _components(weights, x, *inner)
        else:
            y = _variational(weights, x.ravel(), *inner)
        picture = np.rint(255 * y[:, : inner[0], : inner[1]]).clip(0, 255)
        pictures.append(resampled(picture, height, width))
    return np.array(pictures).astype(np.uint8).transpose(0, 2, 3, 1)


def _convolutional(weights: Weights, stages: int, x: Reals) -> Reals:
    for j in range(0, 2 * stages, 2):
        x = relu(up(x, weights[f"decoder.{j}.conv.weight"], weights[f"decoder.{j}.conv.bias"]))
        if j + 2 < 2 * stages:
            x = relu(convolved(x, weights[f"decoder.{j + 1}.conv.weight"], weights[f"decoder.{j + 1}.conv.bias"]))
    last = 2 * stages - 1
    return convolved(x, weights[f"decoder.{last}.weight"], weights[f"decoder.{last}.bias"])


def _levels(weights: Weights, levels: int, latents: Reals) -> Reals:
    """What a quantizer inside the network makes of latents [frames, channels, h, w]."""
    low, step = weights["low"], np.maximum(weights["step"], 1e-4)
    shape = (len(low), *latents.shape[2:]) if low.shape[1] > 1 else (len(low), 1, 1)
    return low.reshape(shape) + latents * (levels - 1) * step.reshape(shape)


def _components(weights: Weights, x: Reals, height: int, width: int) -> Reals:
    scores = (x.reshape(len(x), SIDE * SIDE).T - weights["shift"][:, 0]) / weights["scale"][:, 0]
    return joined(weights["mean"][:, 0] + np.einsum("gk,gkv->gv", scores, weights["directions"]), height, width)


def _in_blocks(weights: Weights, x: Reals, height: int, width: int) -> Reals:
    layers = len({key.split(".")[1] for key in weights if key.startswith("decoder.")})
    y = x.reshape(len(x), SIDE * SIDE).T
    for number in range(layers):
        y = linear(weights, f"decoder.{number}", y)
        y = relu(y) if number + 1 < layers else y
    return joined(y, height, width)


def _variational(weights: Weights, x: Reals, height: int, width: int) -> Reals:
    y = relu(linear(weights, "back", x[None])[0]).reshape(128, -(-height // 16), -(-width // 16))
    for number in range(3):
        y = relu(up(y, weights[f"up.{number}.conv.weight"], weights[f"up.{number}.conv.bias"]))
    levels: Reals = 1 / (1 + np.exp(-up(y, weights["up.3.weight"], weights["up.3.bias"])))
    return levels


def joined(blocks: Reals, height: int, width: int) -> Reals:
    """The picture [3, height, width] of blocks [16, values]."""
    split = blocks.reshape(SIDE, SIDE, 3, height // SIDE, width // SIDE)
    return split.transpose(2, 0, 3, 1, 4).reshape(3, height, width)


def relu(x: Reals) -> Reals:
    """max(x, 0)."""
    y: Reals = np.maximum(x, 0)
    return y


def linear(weights: Weights, name: str, x: Reals) -> Reals:
    """Of x [groups, inputs], each group by its own matrix: [groups, outputs]."""
    y = np.einsum("goi,gi->go", weights[f"{name}.factors.0"], x)
    if f"{name}.factors.1" in weights:
        y = np.einsum("goi,gi->go", weights[f"{name}.factors.1"], y)
    shifted: Reals = y + weights[f"{name}.bias"][:, 0]
    return shifted


def convolved(x: Reals, w: Reals, b: Reals) -> Reals:
    """Of x [I, h, w] by w [O, I, 3, 3]."""
    rows, columns = x.shape[1:]
    wide = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    parts = [
        np.einsum("oi,irc->orc", w[:, :, u, v], wide[:, u : u + rows, v : v + columns])
        for u in range(3)
        for v in range(3)
    ]
    y: Reals = np.sum(parts, 0) + b[:, None, None]
    return y


def up(x: Reals, w: Reals, b: Reals) -> Reals:
    """The transposed convolution of x [I, h, w] by w [I, O, 3, 3]: [O, 2 h, 2 w]."""
    rows, columns = x.shape[1:]
    y = np.zeros((w.shape[1], 2 * rows + 2, 2 * columns + 2))
    for u in range(3):
        for v in range(3):
            y[:, u : u + 2 * rows : 2, v : v + 2 * columns : 2] += np.einsum("io,irc->orc", w[:, :, u, v], x)
    return y[:, 1 : 1 + 2 * rows, 1 : 1 + 2 * columns] + b[:, None, None]


def resampled(picture: Reals, height: int, width: int) -> Reals:
    """A picture [3, H, W] of whole levels in another size: section "Resampling"."""
    if picture.shape[1:] == (height, width):
        return picture
    rows, columns = _kernel(picture.shape[1], height), _kernel(picture.shape[2], width)
    levels: Reals = np.rint(np.einsum("yr,krc,xc->kyx", rows, picture, columns)).clip(0, 255)
    return levels


def _kernel(old: int, new: int) -> Reals:
    """What each of the old places gives to each of the new ones, [new, old]."""
    shares = np.zeros((new, old))
    for place in range(new):
        t = (place + 0.5) * old / new - 0.5
        taps = range(math.floor(t) - 3, math.floor(t) + 5)
        weights = np.array([np.sinc(t - tap) * np.sinc((t - tap) / 4) for tap in taps])
        for tap, weight in zip(taps, weights / weights.sum(), strict=True):
            shares[place, min(max(tap, 0), old - 1)] += weight
    return shares
