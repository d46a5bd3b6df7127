"""A model as a recording: which segments of the footage lower the bits of held-out footage most, and how many of them.

Greedy choice (Nemhauser, Wolsey, Fisher 1978): of all segments, the one is taken next whose replay saves most for each
pixel that has to be replayed. What a segment saves only falls as others are taken, so most need not be tried anew in
each round (Minoux 1978).
"""

import heapq
import lzma
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from time import monotonic, thread_time
from typing import Any

import av
import numpy as np
import zstandard
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray

from pacodec.common.media import Grids
from pacodec.engine import Prior, Recording, Segment, SegmentEncoder, State
from pacodec.gop.parallel import cores
from pacodec.models.files import ModelInfo, dump_arrays
from pacodec.models.recording import NOISE, RECORDING
from pacodec.training.fit_filter import filtered_psnr, fit_filter
from pacodec.training.footage import CodedFootage, CodeSegment, load_codes
from pacodec.training.request import CurvePoint, Request, Trained
from pacodec.transforms.postfilter import POSTFILTER

REPLAY_PIXELS = 2_600_000
"""Pixels of changed blocks that opening a model may replay: at 0.5 us each, about 1.3 s of one core."""
BYTE_PIXELS = 20
"""Pixels that take as long as a byte of surprises does beyond them."""
SEGMENT_PIXELS = 150_000
CANDIDATES = 24
"""Segments that are tried, evenly spread over the footage."""
AT_ONCE = 4
"""Segments that are tried side by side; the same number on every machine, for the same result."""
JUDGED_PIXELS = 300_000
"""Of the held-out footage, what choices are judged by."""
LEAST_GAIN = 0.004
"""Share of the held-out bits that one more segment must save."""


def train_recording(request: Request) -> Trained:
    """Learn palette and recording, and of noisy footage a post-filter, from the request's clips."""
    size = request.size and request.size[::-1]
    footage = load_codes(request.clips, request.validation, request.test, size, SEGMENT_PIXELS)
    frames = sum(segment.shown for segment in footage.train)
    request.report(f"{frames} frames to train on; {footage.split}")
    if footage.noise:
        request.report("noisy footage: a pixel's code stays until a change is worth its price")
    reached = [lost.psnr for lost in footage.distortion]
    request.report(f"{len(footage.palette)} colours give {np.mean(reached):.1f} dB held out")
    hyperparameters: dict[str, Any] = {NOISE: footage.noise}
    arrays: dict[str, NDArray[Any]] = {"palette": footage.palette}
    if footage.noise:
        postfilter = fit_filter(footage.pairs, footage.palette)
        arrays[POSTFILTER] = np.frombuffer(postfilter.to_bytes(), np.uint8)
        reached = filtered_psnr(postfilter, footage)
        request.report(f"the post-filter makes that {np.mean(reached):.1f} dB")
    chosen = choose_segments(request, footage)
    recording = chosen.recording
    if footage.shades:
        arrays["shades"] = np.frombuffer(footage.shades, np.uint8)
    arrays["reference"] = np.frombuffer(b"".join(segment.data for segment in recording.segments), np.uint8)
    spec = recording.spec
    hyperparameters |= {
        "grid": [spec.channels, spec.height, spec.width],
        "segments": [{"frames": segment.frames, "bytes": len(segment.data)} for segment in recording.segments],
    }
    bits = _held_out_bits(footage, chosen.prior)
    tested = sum(segment.shown for segment in footage.test)
    quality: dict[str, Any] = {
        "psnr": round(float(np.mean(reached)), 3),
        "psnr_low": round(min(reached), 3),
        "frames": tested,
        "bits_per_frame": bits,
        "kbps": round(bits[RECORDING] * footage.frame_rate / 1000, 3),
        "frame_rate": round(footage.frame_rate, 3),
    }
    training = {
        "clips": footage.trained_clips,
        "frames": frames,
        "checksum": footage.checksum,
        "seconds": round(monotonic() - request.began),
        "split": footage.split,
        "curve": [vars(point) for point in chosen.curve],
    }
    return Trained(
        data=dump_arrays(arrays, ModelInfo(RECORDING, hyperparameters, training, quality)),
        steps=0,
        psnr=quality["psnr"],
        psnr_low=quality["psnr_low"],
        test_frames=tested,
        split=footage.split,
        code_values=math.prod((spec.channels, spec.height, spec.width)),
        bits=bits,
        curve=chosen.curve,
    )


@dataclass(frozen=True)
class Chosen:
    """A recording, what is known after it, and how it came to be."""

    recording: Recording
    prior: Prior
    curve: list[CurvePoint]


def choose_segments(request: Request, footage: CodedFootage) -> Chosen:
    """The segments that lower the bits of the part for validation most."""
    spec = footage.train[0].spec
    candidates = _spread(footage.train, CANDIDATES)
    judge = _Judge(_some_of(footage.validation))
    prior = Prior(State.fresh(spec))
    bits, done = judge.bits(prior), list[Segment]()
    curve = [CurvePoint(0, 0, 0.0, round(bits / judge.frames, 1))]
    room = REPLAY_PIXELS
    request.report(f"choosing from {len(candidates)} segments; {bits / judge.frames:.0f} bits a frame without any")
    with ThreadPoolExecutor(cores()) as pool:
        # (less what a segment was found to save for each pixel, its number, how many were taken when it was tried)
        queue = [(-math.inf, number, -1) for number in range(len(candidates))]
        while queue:
            stale = [heapq.heappop(queue) for _ in range(min(AT_ONCE, len(queue)))]
            fresh = list(pool.map(partial(judge.trial, prior, bits), [candidates[number] for _, number, _ in stale]))
            for (_, number, _), saved in zip(stale, fresh, strict=True):
                heapq.heappush(queue, (-saved / candidates[number].pixels, number, len(done)))
            gain, number, tried_at = queue[0]
            if tried_at < len(done):
                continue
            best = candidates[number]
            heapq.heappop(queue)
            if -gain * best.pixels < LEAST_GAIN * bits:
                break
            after, segment = judge.after(prior, best)
            work = best.pixels + BYTE_PIXELS * len(segment.data)
            if work > room:
                continue
            prior, room = after, room - work
            done.append(segment)
            bits = judge.bits(prior)
            recording = Recording(spec, done)
            point = CurvePoint(
                segments=len(done),
                bytes=sum(len(each.data) for each in done),
                replay_seconds=_replay_seconds(recording),
                bits_per_frame=round(bits / judge.frames, 1),
            )
            curve.append(point)
            request.report(
                f"{point.segments} segments, {point.bytes / 1000:.1f} kB, replayed in {point.replay_seconds:.2f} s: "
                f"{point.bits_per_frame:.0f} bits a frame"
            )
    return Chosen(Recording(spec, done), prior, curve)


class _Judge:
    """What held-out segments take after a prior, in bits."""

    def __init__(self, segments: Sequence[CodeSegment]) -> None:
        self._grids = [segment.grids() for segment in segments]
        self.frames = sum(segment.shown for segment in segments)

    def bits(self, prior: Prior) -> int:
        """The bits of all held-out segments after a prior."""
        return sum(coded_bits(prior, grids) for grids in self._grids)

    def after(self, prior: Prior, segment: CodeSegment) -> tuple[Prior, Segment]:
        """What is known after one more segment, and that one coded."""
        state = prior.copy()
        encoder = SegmentEncoder(state)
        encoder.push(segment.grids())
        return Prior(state), Segment(segment.frames, encoder.finish())

    def trial(self, prior: Prior, before: float, segment: CodeSegment) -> float:
        """Bits that one more segment would save."""
        return before - self.bits(self.after(prior, segment)[0])


def coded_bits(prior: Prior, grids: Grids) -> int:
    """Bits that grids take as one GOP."""
    with prior.borrowed() as state:
        encoder = SegmentEncoder(state)
        encoder.push(grids)
        return 8 * len(encoder.finish())


def _spread(segments: Sequence[CodeSegment], most: int) -> list[CodeSegment]:
    """Evenly spread ones, as many."""
    count = min(most, len(segments))
    return [segments[number * len(segments) // count] for number in range(count)]


def _some_of(segments: Sequence[CodeSegment]) -> list[CodeSegment]:
    """Evenly spread ones of `JUDGED_PIXELS` in all, at least one."""
    total = sum(segment.pixels for segment in segments)
    return _spread(segments, max(1, len(segments) * JUDGED_PIXELS // max(total, JUDGED_PIXELS)))


def _replay_seconds(recording: Recording) -> float:
    """Of one core, whatever else the machine does."""
    state, began = State.fresh(recording.spec), thread_time()
    for _ in recording.grids(state):
        pass
    return round(thread_time() - began, 3)


def _held_out_bits(footage: CodedFootage, prior: Prior) -> Mapping[str, float]:
    """Bits a frame of the part held out for the report, by method."""
    frames = sum(segment.shown for segment in footage.test)
    clips = [segment.grids() for segment in footage.test]
    fresh = Prior(State.fresh(prior.spec))
    ours = {
        RECORDING: sum(coded_bits(prior, grids) for grids in clips) / frames,
        "engine alone": sum(coded_bits(fresh, grids) for grids in clips) / frames,
    }
    others = {name: 8 * size / frames for name, size in peers(clips, footage.palette).items()}
    return {name: round(bits, 1) for name, bits in (ours | others).items()}


_ZSTD_LEVEL = 19
_XZ_LEVEL = 9 | lzma.PRESET_EXTREME
_MOVIES = {
    "x264 lossless": ("libx264rgb", "rgb24", {"qp": "0", "preset": "medium"}),
    "WebP lossless": ("libwebp_anim", "bgra", {"lossless": "1", "compression_level": "6"}),
}
"""Encoder of FFmpeg, its pixel format and options."""


def peers(clips: Sequence[Grids], palette: NDArray[np.uint8]) -> dict[str, int]:
    """Bytes by method, all lossless for pictures of the palette; `clips` are uint8 [T, 1, h, w] each.

    zstd and xz compress the differences of successive grids; x264 and animated WebP code the pictures in RGB.
    """
    differences = b"".join(np.diff(grids, axis=0, prepend=np.zeros_like(grids[:1])).tobytes() for grids in clips)
    sizes = {
        "zstd -19": len(zstandard.ZstdCompressor(_ZSTD_LEVEL).compress(differences)),
        "xz -9e": len(lzma.compress(differences, preset=_XZ_LEVEL)),
    }
    for name, (encoder, pixels, options) in _MOVIES.items():
        if encoder in av.codecs_available:
            sizes[name] = sum(_movie(palette[grids[:, 0]], encoder, pixels, options) for grids in clips)
    return sizes


def _movie(pictures: NDArray[np.uint8], encoder: str, pixels: str, options: dict[str, str]) -> int:
    coder = av.CodecContext.create(encoder, "w")
    assert isinstance(coder, VideoCodecContext)
    coder.height, coder.width = pictures.shape[1:3]
    coder.pix_fmt, coder.time_base, coder.options = pixels, Fraction(1, 30), options
    size = 0
    for number, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24").reformat(format=pixels)
        frame.pts = number
        size += sum(packet.size for packet in coder.encode(frame))
    return size + sum(packet.size for packet in coder.encode(None))
