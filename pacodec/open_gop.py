"""A GOP while its frames still come in."""

from concurrent.futures import Future

import numpy as np

from pacodec.ahead import Channel
from pacodec.gops import CodedGop, LatentBatch
from pacodec.media import AudioPacket, Frame, Image
from pacodec.quantizers import Parameters


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
