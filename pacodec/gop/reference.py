"""A file's own reference: some of its GOPs, which all others begin after, where that makes the whole smaller."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from pacodec.container import Component, ReferenceInfo, describe_reference
from pacodec.engine import Prior, Segment
from pacodec.gop.coding import CodedGop, GopEncoding, LatentBatch, encode_gop, encode_segment
from pacodec.gop.priors import REFERENCE, SEGMENT
from pacodec.gop.survey import KeptGop, Survey

REFERENCE_PIXELS = 2_700_000
"""Pixels of changed blocks that are replayed before any frame can be shown: one to two seconds."""
LEAST_GAIN = 0.03
"""Share of the bytes of other GOPs that must be saved: the reference has to be repaired by something, too."""
_TESTED_PIXELS = 300_000
_TESTED_GOPS = 2
_BATCH_PIXELS = 1 << 19


@dataclass(frozen=True)
class Reference:
    """Segments, what is known after them, and the GOPs that they are, by number."""

    segments: Sequence[Segment]
    prior: Prior
    gops: dict[int, CodedGop] = field(default_factory=dict)

    def describe(self) -> ReferenceInfo:
        """The description of the reference that the header carries."""
        return describe_reference([(segment.frames, segment.data) for segment in self.segments])


def choose_reference(encoding: GopEncoding, footage: Survey) -> Reference | None:
    """The reference for the GOPs of some footage, None where it is not known or nothing is gained.

    GOPs from all over are taken, as many as may be replayed; whether the others gain by them is measured on two.
    """
    if encoding.prior is None or footage.gops < 2 or len(footage.kept) < 2:
        return None
    chosen = _spread(footage.kept)
    others = [gop for gop in footage.kept if gop not in chosen]
    if not chosen or not others:
        return None
    tested = [others[-1 - n * len(others) // _TESTED_GOPS] for n in range(min(_TESTED_GOPS, len(others)))]
    trial = replace(encoding, exchanges=encoding.exchanges[:1], fallback=False)
    alone = sum(_size(trial, gop) for gop in tested)  # first, and its copy of the state becomes the reference's
    made = _coded(replace(encoding, fallback=False), encoding.prior, chosen)
    primed = sum(_size(replace(trial, prior=made.prior), gop) for gop in tested)
    return made if primed < (1 - LEAST_GAIN) * alone else None


def _spread(kept: Sequence[KeptGop]) -> list[KeptGop]:
    """As many GOPs, evenly spread, as fit into `REFERENCE_PIXELS`, but not all."""
    for stride in range(2, len(kept) + 1):
        chosen = list(kept[::stride])
        if sum(gop.pixels for gop in chosen) <= REFERENCE_PIXELS:
            return chosen
    first = min(kept, key=lambda gop: gop.pixels)
    return [first] if first.pixels <= REFERENCE_PIXELS else []


def _coded(encoding: GopEncoding, prior: Prior, chosen: Sequence[KeptGop]) -> Reference:
    state = prior.copy()
    segments, gops = list[Segment](), dict[int, CodedGop]()
    for number, gop in enumerate(chosen):
        coded = encode_segment(encoding, state, _batches(encoding, gop))
        segments.append(Segment(gop.frames, coded.payload))
        gops[gop.number] = replace(coded, payload=b"", coder=Component(REFERENCE, {SEGMENT: number}))
    return Reference(segments, Prior(state), gops)


def _size(encoding: GopEncoding, gop: KeptGop) -> int:
    """Bytes of the beginning of a GOP."""
    share = max(1, gop.frames * _TESTED_PIXELS // max(gop.pixels, 1))
    batches = _batches(encoding, gop, measured=False)
    limited, taken = list[LatentBatch](), 0
    for batch in batches:
        limited.append(batch)
        taken += len(batch.latents())
        if taken >= share:
            break
    return len(encode_gop(encoding, iter(limited)).payload)


def _batches(encoding: GopEncoding, gop: KeptGop, *, measured: bool = True) -> Iterator[LatentBatch]:
    spec = encoding.transform.spec
    for pictures in gop.pictures(max(1, _BATCH_PIXELS // (spec.height * spec.width))):
        latents = encoding.transform.analyse(pictures)
        numbers = np.arange(len(pictures) if measured else 0)
        yield LatentBatch(lambda made=latents: made, numbers, pictures[numbers])  # type: ignore[misc]
    encoding.transform.additions()
