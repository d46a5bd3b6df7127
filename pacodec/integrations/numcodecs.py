"""The codec `pacodec` for numcodecs, and so for zarr's format 2: chunks of uint8 frames, exactly.

    zarr.create_array("frames.zarr", shape=(9000, 210, 160, 3), chunks=(900, 210, 160, 3), dtype="uint8",
                      zarr_format=2, filters=None, compressors=PacodecNumcodec())

numcodecs finds it by an entry point. Needs the extra `pacodec[zarr]`.
"""

from typing import Any

import numpy as np
from numcodecs.abc import Codec
from numcodecs.compat import ensure_bytes, ndarray_copy

from pacodec.integrations.array_bytes import from_bytes, to_bytes


class PacodecNumcodec(Codec):  # type: ignore[misc]  # numcodecs has no types
    """Arrays uint8 [frames, H, W], [frames, H, W, 3] or of other frames, each chunk a .pac file."""

    codec_id = "pacodec"

    def __init__(self, model: str | None = None) -> None:
        """`model`: the name or path of a model that knows such frames."""
        self.model = model

    def encode(self, buf: Any) -> bytes:
        """The bytes of a chunk, uint8 [frames, ...]; UsageError for any other."""
        return to_bytes(np.asarray(buf), self.model)

    def decode(self, buf: Any, out: Any = None) -> Any:
        """The chunk, uint8 [frames, ...], put into `out` where that is given."""
        return ndarray_copy(from_bytes(ensure_bytes(buf), self.model), out)
