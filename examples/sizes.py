"""Print what clips take without loss, as a Markdown table, and draw the first of them: the README's table and picture.

Usage: sizes.py PICTURE.svg CLIP...

pacodec's figures are whole .pac files, by an installed model where one knows the clip; WebP's are whole animated files,
those of x264 are its packets alone (RGB, preset veryslow).
"""

import base64
import sys
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

import pacodec

RAW, X264, WEBP, PACODEC = "raw RGB", "x264 in RGB", "animated WebP", "pacodec"
X264_OPTIONS = {"preset": "veryslow", "qp": "0", "threads": "1"}
ROW, BAR, NAMES, LONGEST, WIDTH, FRAME = 40, 22, 310, 330, 760, 160
"""Pixels of the drawing: a row, its bar, where bars begin, the longest one, all of it, and the frame beside it."""
OURS, OTHERS = "#2f7d4f", "#9aa7b0"


def measure(clip: str) -> tuple[str, dict[str, int], NDArray[np.uint8]]:
    """The clip in words, its bytes by method, all of them exact, and a frame of it, uint8 [H, W, 3]."""
    with tempfile.TemporaryDirectory() as folder:
        coded, webp = Path(folder, "clip.pac"), Path(folder, "clip.webp")
        report = pacodec.encode(clip, str(coded), lossless=True)
        pacodec.decode(str(coded), str(webp))
        with pacodec.open(coded) as video:
            found = {RAW: report.raw_bytes, X264: x264_bytes(video), WEBP: webp.stat().st_size, PACODEC: report.bytes}
            middle = video[len(video) // 2]
    model = f", by the model {report.model}" if report.model else ""
    words = f"{Path(clip).name}, {report.frames} frames of {report.width}x{report.height}{model}"
    return words, found, middle


def x264_bytes(pictures: Sequence[NDArray[np.uint8]]) -> int:
    """Bytes of the packets that x264 makes of pictures, uint8 [H, W, 3], in RGB without loss."""
    coder, size = av.CodecContext.create("libx264rgb", "w"), 0
    coder.pix_fmt, coder.time_base, coder.options = "rgb24", Fraction(1, 30), X264_OPTIONS
    coder.height, coder.width = pictures[0].shape[:2]
    for number, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts = number
        size += sum(packet.size for packet in coder.encode(frame))
    return size + sum(packet.size for packet in coder.encode(None))


def kilobytes(count: int) -> str:
    """Bytes in kB, with a decimal where it tells something."""
    return f"{count / 1000:.1f} kB" if count < 100_000 else f"{count / 1000:,.0f} kB"


def drawing(words: str, found: dict[str, int], frame: NDArray[np.uint8]) -> str:
    """The sizes as bars beside a frame of the clip, SVG; raw RGB is a figure only, its bar would hide the others."""
    picture = BytesIO()
    Image.fromarray(frame).quantize(256).save(picture, "PNG", optimize=True)
    image = base64.b64encode(picture.getvalue()).decode()
    height = frame.shape[0] * FRAME // frame.shape[1]
    bars = [(name, count) for name, count in found.items() if name != RAW]
    most = max(count for _, count in bars)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height + 20}" font-family="sans-serif"',
        f' font-size="15"><rect width="{WIDTH}" height="{height + 20}" fill="#fff"/>',
        f'<image x="10" y="10" width="{FRAME}" height="{height}" href="data:image/png;base64,{image}"/>',
        f'<text x="{FRAME + 30}" y="36" font-size="13">{words}</text>',
        f'<text x="{FRAME + 30}" y="56" font-size="13">{RAW}: {kilobytes(found[RAW])}; all of these are exact:</text>',
    ]
    for number, (name, count) in enumerate(bars):
        top, length = 78 + number * ROW, max(1, round(LONGEST * count / most))
        colour = OURS if name == PACODEC else OTHERS
        parts += [
            f'<text x="{FRAME + 30}" y="{top + 16}">{name}</text>',
            f'<rect x="{NAMES}" y="{top}" width="{length}" height="{BAR}" fill="{colour}"/>',
            f'<text x="{NAMES + length + 8}" y="{top + 16}">{kilobytes(count)}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    """Measure all clips, print the table, draw the first clip."""
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    print(f"| | {PACODEC} | {WEBP} | {X264} |\n|---|--:|--:|--:|")
    for number, clip in enumerate(sys.argv[2:]):
        words, found, frame = measure(clip)
        print(f"| {words} | {' | '.join(kilobytes(found[name]) for name in (PACODEC, WEBP, X264))} |", flush=True)
        if not number:
            Path(sys.argv[1]).write_text(drawing(words, found, frame))


if __name__ == "__main__":
    main()
