"""Print what pacodec does with your clips: the palette with every predictor (learned where a model knows them), and
every installed autoencoder with every quantizer: size, PSNR and what the quantizer cost of it, and the speed both ways.

Usage: benchmark.py CLIP...   (takes minutes; the figures of all clips are taken together)
"""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pacodec
from pacodec import models
from pacodec.transforms.registry import ARCHITECTURES
from pacodec.weights import ModelFile

PALETTE = "palette"


@dataclass(frozen=True)
class Row:
    """One way of coding all the clips."""

    predictor: str
    kbps: float
    psnr: float
    encode_fps: float
    decode_fps: float


def measure(clips: list[str], model: str | None, quantizer: str | None, predictor: str | None = "adaptive") -> Row:
    """Encode and decode every clip; figures are means over all their frames."""
    size = frames = 0
    duration = quality = encoding = decoding = 0.0
    with tempfile.TemporaryDirectory() as folder:
        coded, back = str(Path(folder, "clip.pac")), str(Path(folder, "clip.mp4"))
        for clip in clips:
            done = pacodec.encode(
                clip, coded, model=model, quantizer=quantizer, predictor=predictor, overwrite=True, jobs=2
            )
            decoded = pacodec.decode(coded, back, overwrite=True, jobs=2)
            size, frames, duration = size + done.bytes, frames + done.frames, duration + done.duration
            quality += done.psnr * done.frames
            encoding, decoding = encoding + done.seconds, decoding + decoded.seconds
    return Row(done.predictor, size * 8 / 1000 / duration, quality / frames, frames / encoding, frames / decoding)


def main() -> None:
    """Measure everything and print a Markdown table."""
    clips = sys.argv[1:]
    if not clips:
        sys.exit(__doc__)
    print("| model | quantizer | predictor | kbit/s | PSNR dB | against none | encode frames/s | decode frames/s |")
    print("|---|---|---|---|---|---|---|---|")
    for predictor in ("none", "adaptive", None):
        row = measure(clips, None, None, predictor)
        speeds = f"{row.encode_fps:.0f} | {row.decode_fps:.0f}"
        print(f"| {PALETTE} | | {row.predictor} | {row.kbps:.1f} | {row.psnr:.2f} | | {speeds} |", flush=True)
    for path in models.paths():
        if ModelFile.read(path).info.arch not in ARCHITECTURES:
            continue
        exact = measure(clips, str(path), "none")
        for quantizer in ("none", "naive", "scale", "kmeans"):
            row = exact if quantizer == "none" else measure(clips, str(path), quantizer)
            lost = f"{row.psnr - exact.psnr:+.2f}"
            speeds = f"{row.encode_fps:.0f} | {row.decode_fps:.0f}"
            line = f"| {path.stem} | {quantizer} | adaptive | {row.kbps:.1f} | {row.psnr:.2f} | {lost} | {speeds} |"
            print(line, flush=True)


if __name__ == "__main__":
    main()
