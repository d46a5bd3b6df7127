"""One GOP between latents and bytes: quantizer, predictor, checksum."""

import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacodec import limits
from pacodec.coders import PictureCoder
from pacodec.container import Gop
from pacodec.errors import CorruptFileError
from pacodec.grids import Grids, GridSpec
from pacodec.metrics import psnr
from pacodec.predictors.base import Predictor
from pacodec.quantizers import Parameters
from pacodec.thrift import Thrift
from pacodec.transforms.base import Pictures
from pacodec.trellis import MOST_FRAMES, steady_codes

PULL = 16
"""Grids decoded at a time when running through a GOP, at most."""
PULL_BYTES = 8 * limits.MIB
"""What those may take, or the pictures made of them; more only where one alone does."""
LOOK_AHEAD_BYTES = 32 * limits.MIB
"""Codes that are looked at at once when it is decided which are worth a change."""


@dataclass(frozen=True)
class LatentBatch:
    """Latents of some coded pictures, and those of the pictures that the quality is to be measured on."""

    latents: Callable[[], NDArray[Any]]
    """Waits for them: the network may still be at work in another thread."""
    sampled: NDArray[np.intp]
    """Which of the latents have their picture in `originals`."""
    originals: Pictures


@dataclass(frozen=True)
class CodedGop:
    """What a GOP's latents became."""

    payload: bytes = field(repr=False)
    codes_crc: int
    quantizer: Parameters
    psnr: NDArray[np.float64]
    """dB, of the sampled pictures."""


def encode_gop(
    coder: PictureCoder,
    predictor: Predictor,
    batches: Iterator[LatentBatch],
    thrifts: Sequence[Thrift | None] = (None,),
) -> CodedGop:
    """Encode the batches of one GOP as they come, or all at the end where the quantizer must see them all first.

    With a thrift, codes may be replaced by cheaper ones, where the coder can tell what a wrong code costs; of several,
    which must agree on what errors are worth, the one is kept that costs least.
    """
    parameters: Parameters = {}
    if not coder.streams:
        batches = iter(collected := list(batches))
        parameters = coder.fit(np.concatenate([batch.latents() for batch in collected]))
    trials = [_Trial(coder, predictor, parameters, thrift) for thrift in thrifts]
    quantized = ((np.ascontiguousarray(coder.quantize(batch.latents(), parameters)), batch) for batch in batches)
    for window in _windows(quantized, ahead=any(thrift and thrift.change for thrift in thrifts)):
        for trial in trials:
            trial.push(window)
    return min((trial.finish() for trial in trials), key=lambda done: done[0])[1]


_Window = list[tuple[Grids, LatentBatch]]


def _windows(quantized: Iterator[tuple[Grids, LatentBatch]], *, ahead: bool) -> Iterator[_Window]:
    """Codes with their batches, one at a time, or as many as are to be looked at at once."""
    window: _Window = []
    frames = 0
    for codes, batch in quantized:
        window.append((codes, batch))
        frames += len(codes)
        if not ahead or frames >= min(MOST_FRAMES, LOOK_AHEAD_BYTES // codes[0].nbytes):
            yield window
            window, frames = [], 0
    if window:
        yield window


class _Trial:
    """One way of coding a GOP."""

    def __init__(
        self, coder: PictureCoder, predictor: Predictor, parameters: Parameters, thrift: Thrift | None
    ) -> None:
        self._coder, self._parameters, self._thrift = coder, parameters, thrift
        self._errors = None if thrift is None else coder.errors()
        costs = None if thrift is None or self._errors is None else thrift.costs(self._errors)
        self._encoder = predictor.encoder(coder.spec, costs)
        self._crc, self._distortion = 0, 0.0
        self._quality = [np.empty(0)]
        self._last: NDArray[np.uint8] | None = None

    def push(self, window: _Window) -> None:
        """Code some grids, and compare some of them with their originals."""
        thrift, errors = self._thrift, self._errors
        meant = [codes for codes, _ in window]
        if thrift is not None and errors is not None and thrift.change:
            steady = steady_codes(np.concatenate(meant), thrift.errors(errors), thrift.change, self._last)
            meant = np.split(steady, np.cumsum([len(codes) for codes, _ in window])[:-1])
        for (wanted, batch), codes in zip(window, meant, strict=True):
            coded = np.ascontiguousarray(self._encoder.push(codes))
            self._crc = zlib.crc32(coded.data, self._crc)
            self._last = coded[-1]
            if errors is not None:
                self._distortion += float(errors[wanted[:, 0], coded[:, 0]].sum())
            if len(batch.sampled):
                decoded = self._coder.decode(coded[batch.sampled], {}, self._parameters)
                self._quality.append(psnr(batch.originals, decoded))

    def finish(self) -> tuple[float, CodedGop]:
        """What it costs, in nats, and what came of it."""
        payload = self._encoder.finish()
        error = self._distortion / self._thrift.rate_weight if self._thrift else 0.0
        gop = CodedGop(payload, self._crc, self._parameters, np.concatenate(self._quality))
        return error + 8 * math.log(2) * len(payload), gop


class CheckedDecoder:
    """The codes of a GOP in order, compared with their checksum when the last of them comes."""

    def __init__(self, gop: Gop, spec: GridSpec, predictor: Predictor) -> None:
        self.left = gop.coded_frames
        """Grids that are still to come."""
        self._decoder, self._expected, self._crc = predictor.decoder(spec, gop.payload), gop.codes_crc, 0

    def pull(self, n: int) -> Grids:
        """The next n grids, uint8 [n, C, h, w]; n must not be more than are left.

        CorruptFileError where the payload cannot hold them, or with the last ones where the checksum is wrong: what
        was given out before is not to be trusted then.
        """
        grids = np.ascontiguousarray(self._decoder.pull(n))
        self.left -= len(grids)
        self._crc = zlib.crc32(grids.data, self._crc)
        if not self.left:
            if self._crc != self._expected:
                raise CorruptFileError("the decoded codes do not match their checksum")
            self._decoder.finish()
        return grids


def pull_frames(size: int) -> int:
    """Frames to decode at a time where one takes `size` bytes, as codes or as a picture."""
    return max(1, min(PULL, PULL_BYTES // size))


def decode_gop(gop: Gop, spec: GridSpec, predictor: Predictor, most: int = PULL) -> Iterator[Grids]:
    """All codes of a GOP, uint8 [n <= most, C, h, w] at a time, repeats left out; errors as of `CheckedDecoder`."""
    decoder = CheckedDecoder(gop, spec, predictor)
    step = min(most, pull_frames(spec.size))
    while decoder.left:
        yield decoder.pull(min(step, decoder.left))


class GopCursor:
    """Random access to the codes of one GOP: forward steps are cheap, a step back starts over.

    The checksum covers the whole GOP, so it is compared when the last of its codes is reached. From then on nothing is
    given out of a GOP that does not match.
    """

    def __init__(self, gop: Gop, spec: GridSpec, predictor: Predictor) -> None:
        self.gop, self.spec, self.predictor = gop, spec, predictor
        self._coded_index = np.cumsum(~gop.repeats) - 1
        self._last: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._decoder: CheckedDecoder
        self._error: CorruptFileError | None = None
        self._rewind()

    def codes(self, frame: int) -> NDArray[np.uint8]:
        """Codes of a frame of the GOP, uint8 [C, h, w]; CorruptFileError where they are wrong."""
        if self._error is not None:
            raise self._error
        wanted = int(self._coded_index[frame])
        if wanted < self._done - 1:
            self._rewind()
        while self._done <= wanted:
            try:
                grids = self._decoder.pull(min(pull_frames(self.spec.size), wanted + 1 - self._done))
            except CorruptFileError as error:
                self._error = error
                raise
            self._done += len(grids)
            self._last = grids[-1]
        last: NDArray[np.uint8] = self._last.copy()
        return last

    def _rewind(self) -> None:
        self._decoder = CheckedDecoder(self.gop, self.spec, self.predictor)
        self._done = 0
