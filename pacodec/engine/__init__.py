"""Code grids to bytes and back: one sequential engine, in C, that learns from each code before it meets the next."""

from pacodec.engine.differences import DifferencesDecoder, DifferencesEncoder, differences_memory
from pacodec.engine.prior import Prior, Recording, Segment, replay
from pacodec.engine.state import (
    BLOCK,
    COST_UNIT,
    SPAN_BEGINS,
    BlockCosts,
    Costs,
    GridDecoder,
    GridEncoder,
    SegmentDecoder,
    SegmentEncoder,
    Spans,
    State,
    block_count,
    state_bytes,
)

__all__ = [
    "BLOCK",
    "COST_UNIT",
    "SPAN_BEGINS",
    "BlockCosts",
    "Costs",
    "DifferencesDecoder",
    "DifferencesEncoder",
    "GridDecoder",
    "GridEncoder",
    "Prior",
    "Recording",
    "Segment",
    "SegmentDecoder",
    "SegmentEncoder",
    "Spans",
    "State",
    "block_count",
    "differences_memory",
    "replay",
    "state_bytes",
]
