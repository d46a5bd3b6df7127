"""A GOP while its frames still come in."""

import math
from concurrent.futures import Future
from fractions import Fraction

import numpy as np

from pacodec import limits
from pacodec.ahead import Channel
from pacodec.gops import CodedGop, LatentBatch
from pacodec.media import AudioPacket, Frame, Image
from pacodec.quantizers import Parameters


def even_frames(announced: int | None, rate: Fraction | None, seconds: Fraction) -> int:
    """Frames of a GOP of at most `seconds`, all of a clip's being of like length: the last one would otherwise be left
    with few, which pay for a keyframe of their own and keep one core busy where there are two.

    `announced`: how many frames the clip says it has, `rate` how many a second; without either there is no limit.
    """
    if not announced or not rate:
        return limits.MAX_GOP_FRAMES
    gops = math.ceil(announced / rate / seconds)
    return math.ceil(announced / gops) if gops > 1 else limits.MAX_GOP_FRAMES  # clips may hold more than they announce


class OpenGop:
    """A GOP that is being filled: its timestamps, its repeats, its audio, and the pictures not yet analysed.

    One without a `channel` is in the file already.
    """

    future: "Future[CodedGop]"

    def __init__(self, first: int, psnr_every: int, channel: Channel[LatentBatch] | None, looks_back: int) -> None:
        """`looks_back`: see `Predictor.looks_back`."""
        self.first, self.psnr_every, self.channel, self._looks_back = first, psnr_every, channel, looks_back
        self.pts: list[int] = []
        self.repeats: list[bool] = []
        self.audio: list[AudioPacket] = []
        self.transform: Parameters = {}
        self.pending: list[Image] = []
        self.sampled: list[int] = []
        self._last: Image | None = None
        self._equal = 0

    def add(self, frame: Frame) -> None:
        """Take a frame; one equal to its predecessors, as far as the predictor looks back, costs a flag and no more."""
        equal = self._last is not None and np.array_equal(frame.rgb, self._last)
        self._equal = self._equal + 1 if equal else 0
        repeat = self._equal > self._looks_back
        self.repeats.append(repeat)
        if not repeat:
            if len(self.pts) % self.psnr_every == 0:
                self.sampled.append(len(self.pending))
            self.pending.append(frame.rgb)
            self._last = frame.rgb
        self.pts.append(frame.pts)
