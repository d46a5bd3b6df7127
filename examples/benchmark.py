"""Print what pacodec makes of your clips, coder by coder: none, the engine, and what it chooses itself
(by an installed model where one suits such clips): size, PSNR and the speed both ways.

Usage: benchmark.py CLIP...   (takes minutes; the figures of all clips are taken together)

`pacodec study` does the same for autoencoders and quantizers, `pacodec eval` for other codecs.
"""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pacodec


@dataclass(frozen=True)
class Row:
    """One way of coding all the clips."""

    coder: str
    kbps: float
    psnr: float
    encode_fps: float
    decode_fps: float


def measure(clips: list[str], coder: str | None) -> Row:
    """Encode and decode every clip; figures are means over all their frames."""
    size = frames = 0
    duration = quality = encoding = decoding = 0.0
    chosen = set()
    with tempfile.TemporaryDirectory() as folder:
        coded, back = str(Path(folder, "clip.pac")), str(Path(folder, "clip.mp4"))
        for clip in clips:
            done = pacodec.encode(clip, coded, coder=coder, overwrite=True, jobs=2)
            decoded = pacodec.decode(coded, back, overwrite=True, jobs=2)
            chosen.update(done.coders)
            size, frames, duration = size + done.bytes, frames + done.frames, duration + done.duration
            quality += done.psnr * done.frames
            encoding, decoding = encoding + done.seconds, decoding + decoded.seconds
    named = ", ".join(sorted(chosen))
    return Row(named, size * 8 / 1000 / duration, quality / frames, frames / encoding, frames / decoding)


def main() -> None:
    """Measure everything and print a Markdown table."""
    clips = sys.argv[1:]
    if not clips:
        sys.exit(__doc__)
    print("| coder | kbit/s | PSNR dB | encode frames/s | decode frames/s |")
    print("|---|---|---|---|---|")
    for coder in ("none", "engine", None):
        row = measure(clips, coder)
        speeds = f"{row.encode_fps:.0f} | {row.decode_fps:.0f}"
        print(f"| {row.coder} | {row.kbps:.1f} | {row.psnr:.2f} | {speeds} |", flush=True)


if __name__ == "__main__":
    main()
