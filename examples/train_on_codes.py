"""Train a small network on the codes of recordings: from four frames, where will the next one differ from the last?

    python examples/train_on_codes.py RECORDINGS...     (.pac files, or folders of them)

The codes of a palette are colour numbers, so they are embedded as words are; pictures are never made of them. Prints
the loss beside that of always guessing how often a block changes.
"""

import argparse
import math
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

from pacodec.integrations.torch import ClipStream

SEEN = 4
"""Frames that the network sees."""
BLOCK = 10
"""Pixels of a side of the blocks that change or not; it divides 160 and 210."""
COLOURS, CHANNELS = 256, 8


class ChangePredictor(nn.Module):
    """Codes of some frames, uint8 [B, SEEN, h, w], to the logit that each block changes next, [B, h / 10, w / 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(COLOURS, CHANNELS)
        self.layers = nn.Sequential(
            nn.Conv2d(SEEN * CHANNELS, 32, BLOCK, stride=BLOCK),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 1, 3, padding=1),
        )

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        embedded = self.embedding(codes.int()).permute(0, 1, 4, 2, 3).flatten(1, 2)
        return self.layers(embedded)[:, 0]


def changed_blocks(last: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
    """Which blocks differ between two grids [B, h, w]: float32 [B, h / 10, w / 10], 0 or 1."""
    return nn.functional.max_pool2d((last != following).float()[:, None], BLOCK)[:, 0]


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a small network on the codes of recordings.")
    parser.add_argument("recordings", type=Path, nargs="+", help=".pac files, or folders of them")
    parser.add_argument("--epochs", type=int, default=3, help="passes over the recordings (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes that read (default: %(default)s)")
    options = parser.parse_args()
    torch.manual_seed(0)
    clips = ClipStream(options.recordings, SEEN + 1, codes=True, seed=0)
    loader = DataLoader(clips, batch_size=8, num_workers=options.workers, persistent_workers=options.workers > 0)
    network = ChangePredictor()
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for epoch in range(options.epochs):
        clips.set_epoch(epoch)
        total = share = 0.0
        steps = 0
        for batch in loader:
            codes = batch[:, :, 0]  # the plane of colour numbers
            wanted = changed_blocks(codes[:, SEEN - 1], codes[:, SEEN])
            loss = nn.functional.binary_cross_entropy_with_logits(network(codes[:, :SEEN]), wanted)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total, share, steps = total + loss.item(), share + wanted.mean().item(), steps + 1
        often = share / steps
        guess = -often * math.log2(often) - (1 - often) * math.log2(1 - often)
        bits = total / steps / math.log(2)
        print(f"epoch {epoch}: {bits:.4f} bits a block; guessing how often takes {guess:.4f}", flush=True)


if __name__ == "__main__":
    main()
