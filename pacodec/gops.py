"""One GOP between latents and bytes: quantizer, predictor, checksum."""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacodec.coders import PictureCoder
from pacodec.container import Gop
from pacodec.errors import CorruptFileError
from pacodec.grids import Grids, GridSpec
from pacodec.metrics import psnr
from pacodec.predictors.base import GridDecoder, Predictor
from pacodec.quantizers import Parameters
from pacodec.transforms.base import Pictures

PULL = 16
"""Grids decoded at a time when running through a GOP."""


@dataclass(frozen=True)
class LatentBatch:
    """Latents of some coded pictures, and those of the pictures that the quality is to be measured on."""

    latents: Callable[[], NDArray[Any]]
    """Waits for them: the network may still be at work in another thread."""
    sampled: NDArray[np.intp]
    """Which of the latents have their picture in `originals`."""
    originals: Pictures


@dataclass(frozen=True)
class Thrift:
    """How much quality is given for size."""

    rate_weight: float
    """Squared error (of 8-bit levels, summed over R, G, B) that is worth one nat."""
    deviation: float
    """nats that a wrong code costs beyond its error: what follows is foreseen worse, and it may need putting right."""

    def costs(self, errors: NDArray[np.float64]) -> NDArray[np.float64]:
        """nats that code j costs where i was meant, of the squared errors, float64 [256, 256]."""
        return errors / self.rate_weight + self.deviation * ~np.eye(len(errors), dtype=np.bool_)


@dataclass(frozen=True)
class CodedGop:
    """What a GOP's latents became."""

    payload: bytes = field(repr=False)
    codes_crc: int
    quantizer: Parameters
    psnr: NDArray[np.float64]
    """dB, of the sampled pictures."""


def encode_gop(
    coder: PictureCoder, predictor: Predictor, batches: Iterator[LatentBatch], thrift: Thrift | None = None
) -> CodedGop:
    """Encode the batches of one GOP as they come, or all at the end where the quantizer must see them all first.

    With `thrift`, codes may be replaced by cheaper ones, where the coder can tell what a wrong code costs.
    """
    parameters: Parameters = {}
    if not coder.streams:
        batches = iter(collected := list(batches))
        parameters = coder.fit(np.concatenate([batch.latents() for batch in collected]))
    encoder, crc = predictor.encoder(coder.spec, None if thrift is None else thrift.costs(coder.errors())), 0
    quality = [np.empty(0)]
    for batch in batches:
        codes = np.ascontiguousarray(coder.quantize(batch.latents(), parameters))
        codes = np.ascontiguousarray(encoder.push(codes))
        crc = zlib.crc32(codes.data, crc)
        if len(batch.sampled):
            quality.append(psnr(batch.originals, coder.decode(codes[batch.sampled], {}, parameters)))
    return CodedGop(encoder.finish(), crc, parameters, np.concatenate(quality))


def decode_gop(gop: Gop, spec: GridSpec, predictor: Predictor) -> Iterator[Grids]:
    """All codes of a GOP, uint8 [n, C, h, w] at a time, repeats left out; CorruptFileError where their CRC is wrong.

    The error comes with the last batch: what was given out before is not to be trusted then.
    """
    decoder, crc, left = predictor.decoder(spec, gop.payload), 0, gop.coded_frames
    while left:
        codes = np.ascontiguousarray(decoder.pull(min(PULL, left)))
        left -= len(codes)
        crc = zlib.crc32(codes.data, crc)
        if not left:
            if crc != gop.codes_crc:
                raise CorruptFileError("the decoded codes do not match their checksum")
            decoder.finish()
        yield codes


class GopCursor:
    """Random access to the codes of one GOP: forward steps are cheap, a step back starts over."""

    def __init__(self, gop: Gop, spec: GridSpec, predictor: Predictor) -> None:
        self.gop, self.spec, self.predictor = gop, spec, predictor
        self._coded_index = np.cumsum(~gop.repeats) - 1
        self._last: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._decoder: GridDecoder
        self._rewind()

    def codes(self, frame: int) -> NDArray[np.uint8]:
        """Codes of a frame of the GOP, uint8 [C, h, w]."""
        wanted = int(self._coded_index[frame])
        if wanted < self._done - 1:
            self._rewind()
        while self._done <= wanted:
            grids = self._decoder.pull(min(PULL, wanted + 1 - self._done))
            self._done += len(grids)
            self._last = grids[-1]
        last: NDArray[np.uint8] = self._last.copy()
        return last

    def _rewind(self) -> None:
        self._decoder = self.predictor.decoder(self.spec, self.gop.payload)
        self._done = 0
