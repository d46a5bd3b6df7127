"""One GOP between latents and bytes: quantizer, rate-distortion, engine, checksum."""

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacodec import limits
from pacodec.common.media import Grids, GridSpec, Image, Pictures
from pacodec.common.metrics import mean_squared_errors, row_errors
from pacodec.common.pixels import changed_rows
from pacodec.container import ENGINE, Component, Gop
from pacodec.engine import BlockCosts, DifferencesDecoder, DifferencesEncoder, Prior, SegmentEncoder, Spans, State
from pacodec.errors import CorruptFileError
from pacodec.gop.priors import NONE, Decoders
from pacodec.gop.rate_distortion import MOST_FRAMES, RateDistortion
from pacodec.transforms.base import GridTransform, Parameters

BATCH_FRAMES = 16
"""Grids decoded at a time when running through a GOP, at most."""
BATCH_BYTES = 8 * limits.MIB
"""What those may take, or the pictures made of them; more only where one alone does."""
LOOK_AHEAD_BYTES = 32 * limits.MIB
"""Codes that are looked at at once when it is decided which are worth a change."""
_FAST, _DOUBT = 1, 1.5
"""zstd's level for differences that are only kept in case; they are compressed well where they then are at most so many
times the engine's bytes."""


@dataclass(frozen=True)
class LatentBatch:
    """Latents of some coded pictures, and those of the pictures that the quality is to be measured on."""

    latents: Callable[[], NDArray[Any]]
    """Waits for them: the network may still be at work in another thread."""
    measured: NDArray[np.intp]
    """Which of the latents have their picture in `originals`."""
    originals: Pictures
    exact: bool = False
    """Whether the latents' own codes give the pictures back exactly, so that `originals` may be left out."""


@dataclass(frozen=True)
class CodedGop:
    """A coded GOP: its payload, and what is needed beside it."""

    payload: bytes = field(repr=False)
    coder: Component
    codes_crc: int
    quantizer: Parameters
    errors: NDArray[np.float64]
    """Mean squared error of each of the measured pictures, in order."""


@dataclass(frozen=True)
class GopEncoding:
    """How GOPs are coded: everything but the pictures. Safe to share between threads."""

    transform: GridTransform
    prior: Prior | None
    """What the engine knows before a GOP; None codes by `none` alone."""
    exchanges: Sequence[RateDistortion | None] = (None,)
    """With one, codes may be replaced by cheaper ones; of several, the one is kept that costs least."""
    fallback: bool = True
    """Whether a GOP that `none` makes smaller is coded by that."""


def encode_gop(encoding: GopEncoding, batches: Iterator[LatentBatch]) -> CodedGop:
    """Encode the batches of one GOP as they come, or all at the end where the quantizer must see them all first."""
    parameters: Parameters = {}
    if not encoding.transform.streams:
        batches = iter(collected := list(batches))
        parameters = encoding.transform.fit(np.concatenate([batch.latents() for batch in collected]))
    prior = encoding.prior
    states = [None if prior is None else prior.copy() for _ in encoding.exchanges]
    trials = [
        _Trial(encoding, parameters, exchange, state)
        for exchange, state in zip(encoding.exchanges, states, strict=True)
    ]
    quantize = encoding.transform.quantize
    quantized = ((np.ascontiguousarray(quantize(batch.latents(), parameters)), batch) for batch in batches)
    for window in _windows(quantized, ahead=any(encoding.exchanges)):
        for trial in trials:
            trial.push(window)
    done = min((trial.finish() for trial in trials), key=lambda each: each[0])[1]
    for state in states:
        if prior is not None and state is not None:
            prior.give_back(state)
    return done


def encode_segment(encoding: GopEncoding, state: State, batches: Iterator[LatentBatch]) -> CodedGop:
    """Encode batches as the next segment of a state, which learns from them; of a transform that streams."""
    trial = _Trial(replace(encoding, fallback=False), {}, encoding.exchanges[0], state)
    quantized = ((np.ascontiguousarray(encoding.transform.quantize(batch.latents(), {})), batch) for batch in batches)
    for window in _windows(quantized, ahead=encoding.exchanges[0] is not None):
        trial.push(window)
    return trial.finish()[1]


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
        self,
        encoding: GopEncoding,
        parameters: Parameters,
        exchange: RateDistortion | None,
        state: State | None,
    ) -> None:
        self._encoding, self._parameters, self._exchange = encoding, parameters, exchange
        self._errors = None if exchange is None else encoding.transform.errors()
        spec = encoding.transform.spec
        costs = None if exchange is None or self._errors is None else exchange.costs(self._errors)
        self._engine = None if state is None else SegmentEncoder(state, costs)
        self._differences: DifferencesEncoder | None = None
        if self._engine is None:
            self._differences = DifferencesEncoder(spec)
        elif encoding.fallback:
            self._differences = DifferencesEncoder(spec, _FAST)
        self._crc, self._error, self._frames = 0, 0.0, 0
        self._measured_errors: list[float] = []
        self._compared: tuple[Image, NDArray[np.uint8], NDArray[np.float64]] | None = None
        """The last picture that was measured, its codes, and the squared error of each of its rows."""
        self._last: NDArray[np.uint8] | None = None

    def push(self, window: _Window) -> None:
        """Code some grids, and compare their pictures with the originals."""
        exchange, errors = self._exchange, self._errors
        meant = [codes for codes, _ in window]
        staying: list[Spans | None] = [None] * len(window)
        if exchange is not None and errors is not None:
            steady, stays = exchange.choose(np.concatenate(meant), errors, self._last)
            ends = np.cumsum([len(codes) for codes, _ in window])[:-1]
            meant, staying = np.split(steady, ends), list(np.split(stays, ends))
        for (wanted, batch), codes, stay in zip(window, meant, staying, strict=True):
            coded = codes if self._engine is None else self._engine.push(codes, stay)
            if self._differences is not None:
                self._differences.push(coded)
            self._crc = zlib.crc32(np.ascontiguousarray(coded).data, self._crc)
            self._frames += len(coded)
            self._last = coded[-1]
            if errors is not None:
                self._error += float(errors[wanted[:, 0], coded[:, 0]].sum())
            self._measure(coded, batch)

    def finish(self) -> tuple[float, CodedGop]:
        """The cost of this trial in bits, and the coded GOP."""
        payload, coder = self._payload()
        error = self._exchange.bits(np.array(self._error)).item() if self._exchange else 0.0
        gop = CodedGop(payload, Component(coder), self._crc, self._parameters, np.array(self._measured_errors))
        return error + 8 * len(payload), gop

    def _measure(self, coded: Grids, batch: LatentBatch) -> None:
        if not len(batch.measured):
            return
        if self._exchange is None and (batch.exact or self._encoding.transform.exact):
            self._measured_errors += [0.0] * len(batch.measured)
            return
        transform, measured = self._encoding.transform, coded[batch.measured]
        if transform.pixelwise:
            self._measured_errors += map(self._measured, batch.originals, measured)
            return
        step = batch_frames(batch.originals[0].nbytes)
        for first in range(0, len(measured), step):
            part = slice(first, first + step)
            decoded = transform.decode(measured[part], {}, self._parameters)
            self._measured_errors += mean_squared_errors(batch.originals[part], decoded).tolist()

    def _measured(self, original: Image, grid: NDArray[np.uint8]) -> float:
        """Mean squared error of a picture, uint8 [H, W, 3], by its codes [C, h, w]; only rows that changed are looked
        at."""
        transform, last = self._encoding.transform, self._compared
        if last is None:
            rows, errors = np.ones(len(original), np.bool_), np.zeros(len(original))
        else:
            rows, errors = changed_rows(last[0], original), last[2]
            for channel, before in zip(grid, last[1], strict=True):
                rows |= changed_rows(before, channel)
        if rows.any():
            decoded = transform.decode(grid[None, :, rows], {}, self._parameters)[0]
            errors[rows] = row_errors(original[rows], decoded)
        self._compared = original, grid, errors
        return float(errors.sum()) / original.size

    def _payload(self) -> tuple[bytes, str]:
        """The smaller of the engine's bytes and those of differences, and which that is."""
        kept = b"" if self._differences is None else self._differences.finish()
        if self._engine is None:
            return kept, NONE
        payload = self._engine.finish()
        if self._differences is not None and len(kept) < _DOUBT * len(payload):
            kept = _compressed_well(kept, self._encoding.transform.spec, self._frames)
            if len(kept) < len(payload):
                return kept, NONE
        return payload, ENGINE


def _compressed_well(kept: bytes, spec: GridSpec, frames: int) -> bytes:
    """The same differences at zstd's best."""
    decoder, encoder = DifferencesDecoder(spec, kept), DifferencesEncoder(spec)
    step = batch_frames(spec.size)
    for first in range(0, frames, step):
        encoder.push(decoder.pull(min(step, frames - first)))
    return encoder.finish()


class CheckedDecoder:
    """The codes of a GOP in order, compared with their checksum when the last of them comes."""

    def __init__(self, gop: Gop, decoders: Decoders) -> None:
        self.left = gop.coded_frames
        """Grids that are still to come."""
        self._decoder, self._expected, self._crc = decoders.decoder(gop), gop.codes_crc, 0

    @property
    def costs(self) -> BlockCosts | None:
        """What each grid of the last `pull` took, where that is kept."""
        return self._decoder.costs

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


def batch_frames(size: int) -> int:
    """Frames to decode at a time where one takes `size` bytes, as codes or as a picture."""
    return max(1, min(BATCH_FRAMES, BATCH_BYTES // size))


def decode_gop(gop: Gop, decoders: Decoders, most: int = BATCH_FRAMES) -> Iterator[Grids]:
    """All codes of a GOP, uint8 [n <= most, C, h, w] at a time, repeats left out; errors as of `CheckedDecoder`."""
    decoder = CheckedDecoder(gop, decoders)
    step = min(most, batch_frames(decoders.spec.size))
    while decoder.left:
        yield decoder.pull(min(step, decoder.left))
