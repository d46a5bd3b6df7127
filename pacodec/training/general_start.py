"""Make the engine's general start: `python -m pacodec.training.general_start CLIP... --frames 60 --output start.zst`.

The engine codes the beginning of each clip in turn, and keeps from one to the next what names no colours. The start
that is shipped came from 29 Atari games (two seconds each), three terminal sessions and two browser games: none of the
clips that figures in the README are measured on. A new start is a new version of the format.
"""

import argparse
import ctypes
from itertools import islice
from pathlib import Path

import numpy as np
import zstandard

from pacodec.common.media import GridSpec
from pacodec.engine.library import core
from pacodec.engine.state import SegmentEncoder, State
from pacodec.transforms.palette import PaletteTransform, learn_palette
from pacodec.video.reader import VideoReader

LEVEL = 19


def learn(clips: list[Path], frames: int) -> bytes:
    """What the engine knows after the first `frames` of each clip; raises what reading a video raises."""
    start: bytes | None = None
    for clip in clips:
        with VideoReader(str(clip)) as reader:
            pictures = [frame.rgb for frame in islice(reader.frames(), frames)]
        codes = PaletteTransform(learn_palette(pictures)).encode(np.stack(pictures))
        channels, height, width = codes.shape[1:]
        spec = GridSpec(channels, height, width, ordinal=False)
        state = State.empty(spec)
        shape = (spec.ordinal, spec.channels, spec.height, spec.width)
        core().pac_state_init(state.pointer, *shape, start, len(start or b""))
        SegmentEncoder(state).push(codes)
        size = core().pac_state_learned(state.pointer, None, 0)
        learned = ctypes.create_string_buffer(size)
        core().pac_state_learned(state.pointer, learned, size)
        start = learned.raw
    return start or b""


def main() -> None:
    """Make a start file of the clips on the command line."""
    parser = argparse.ArgumentParser(description="Make the general start of the engine.")
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--frames", type=int, default=60, help="of each clip (default: %(default)s)")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    options.output.write_bytes(zstandard.ZstdCompressor(LEVEL).compress(learn(options.clips, options.frames)))


if __name__ == "__main__":
    main()
