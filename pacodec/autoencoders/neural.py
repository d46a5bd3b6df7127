"""An autoencoder as a transform: devices, padding and resizing, batches, uint8 pictures in and out."""

import os
import threading
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from pacodec.autoencoders.autoencoder import Autoencoder
from pacodec.autoencoders.registry import build
from pacodec.common.media import Pictures
from pacodec.common.pixels import resize
from pacodec.errors import CorruptFileError, UsageError
from pacodec.models.files import ModelFile

# In a forked child OpenMP's threads are not there, and a network would wait for them for ever.
os.register_at_fork(after_in_child=partial(torch.set_num_threads, 1))

BATCH_PIXELS = 1 << 19
"""Pixels that go through a network at once: 16 frames of 160 x 200."""
STRIP_MARGIN = 3
"""Rows of latents beside those of a strip that its pixels depend on: a convolution and an upsampling a stage reach less
than two."""


def choose_device(name: str) -> torch.device:
    """`auto` is a GPU where there is one; UsageError for `cuda` without one."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("device cuda: there is no usable GPU on this machine")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def load_autoencoder(model: ModelFile) -> Autoencoder:
    """The network of a model file, folded, for inference; CorruptFileError where weights and shape disagree."""
    with torch.device("meta"):  # no memory until the shapes are known to agree
        network = build(model.info.arch, model.info.hyperparameters, folded=True)
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    tensors = model.tensors()
    if expected != {name: value.shape for name, value in tensors.items()}:
        raise CorruptFileError(f"{model.name}: the weights do not fit the architecture {model.info.arch}")
    network.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()}, assign=True)
    return network.eval()


class NeuralTransform:
    """Pictures to latents in [0, 1] and back by an autoencoder."""

    def __init__(self, model: ModelFile, device: str = "auto") -> None:
        self.device = choose_device(device)
        self.network = load_autoencoder(model).to(self.device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.name = model.info.arch

    def grid(self, height: int, width: int) -> tuple[int, int, int]:
        """(C, h, w) of the latents of a height x width picture."""
        return self.network.grid(height, width)

    @torch.inference_mode()
    def analyse(self, pictures: Pictures) -> NDArray[np.float32]:
        """uint8 [n, H, W, 3] to float32 [n, C, h, w]; a fixed-size network sees the pictures resized."""
        _share_cores()
        height, width = pictures.shape[1:3]
        if self.network.size is not None:
            pictures = resize(pictures, *self.network.size)
        step = max(1, BATCH_PIXELS // (pictures.shape[1] * pictures.shape[2]))
        parts = []
        for start in range(0, len(pictures), step):
            part = np.ascontiguousarray(pictures[start : start + step])
            images = torch.from_numpy(part).to(self.device).permute(0, 3, 1, 2).float().mul_(1 / 255)
            parts.append(self.network.encode(images).float().cpu().numpy())
        return np.concatenate(parts) if parts else np.empty((0, *self.grid(height, width)), np.float32)

    @torch.inference_mode()
    def synthesise(self, latents: NDArray[np.float32], height: int, width: int) -> Pictures:
        """float32 [n, C, h, w] to uint8 [n, height, width, 3]."""
        _share_cores()
        inner = self.network.size or (height, width)
        pictures = np.empty((len(latents), *inner, 3), np.uint8)
        step = max(1, BATCH_PIXELS // (inner[0] * inner[1]))
        rows = latents.shape[2]
        if self.network.size is None:  # a large picture in strips: its layers take a hundred bytes a pixel
            rows = max(1, rows * BATCH_PIXELS // (height * width))
        for start in range(0, len(latents), step):
            for top in range(0, latents.shape[2], rows):
                first = max(0, top - STRIP_MARGIN)
                strip = torch.from_numpy(latents[start : start + step, :, first : top + rows + STRIP_MARGIN])
                images = self.network.decode(strip.to(self.device, memory_format=torch.channels_last))
                stride = images.shape[2] // strip.shape[2]
                target = pictures[start : start + step, top * stride : (top + rows) * stride]
                made = images[:, :, (top - first) * stride :, : inner[1]][:, :, : target.shape[1]]
                levels = made.mul(255).round_().clamp_(0, 255)
                target[...] = levels.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        return resize(pictures, height, width)


def _share_cores() -> None:
    """Let a worker thread use one core: networks side by side beat teams of threads that wait for each other."""
    if threading.current_thread() is not threading.main_thread() and torch.get_num_threads() > 1:
        torch.set_num_threads(1)
