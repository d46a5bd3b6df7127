"""What a state knows before any footage: how screens behave, learned from many, without their colours.

`start.zst` belongs to the format: FORMAT.md names its sha256. `pacodec/training/general_start.py` made it.
"""

from functools import cache
from pathlib import Path

import zstandard

FILE = Path(__file__).with_name("start.zst")
_MOST_BYTES = 1 << 22


@cache
def general_start() -> bytes:
    """Mixers, maps, corrections and the counters of contexts without colours, as little-endian words of 32 bits."""
    return zstandard.ZstdDecompressor().decompress(FILE.read_bytes(), max_output_size=_MOST_BYTES)
