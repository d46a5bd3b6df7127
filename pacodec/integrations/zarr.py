"""The codec `pacodec` for zarr's format 3: chunks of uint8 frames, exactly.

    zarr.create_array("frames.zarr", shape=(9000, 210, 160, 3), chunks=(900, 210, 160, 3), dtype="uint8",
                      serializer=PacodecCodec(), compressors=None)

zarr finds it by an entry point. Needs the extra `pacodec[zarr]`.
"""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from zarr.abc.codec import ArrayBytesCodec
from zarr.core.buffer import Buffer, NDBuffer
from zarr.core.common import JSON, parse_named_configuration

from pacodec.errors import CorruptFileError, UsageError
from pacodec.integrations.array_bytes import from_bytes, to_bytes

if TYPE_CHECKING:
    from zarr.core.array_spec import ArraySpec


@dataclass(frozen=True)
class PacodecCodec(ArrayBytesCodec):
    """Arrays uint8 [frames, H, W], [frames, H, W, 3] or of other frames, each chunk a .pac file.

    model: the name or path of a model that knows such frames.
    """

    is_fixed_size = False

    model: str | None = None

    @classmethod
    def from_dict(cls, data: dict[str, JSON]) -> Self:
        """Of the metadata of an array."""
        _, configuration = parse_named_configuration(data, "pacodec", require_configuration=False)
        given: dict[str, Any] = dict(configuration or {})
        return cls(**given)

    def to_dict(self) -> dict[str, JSON]:
        """For the metadata of an array."""
        if self.model is None:
            return {"name": "pacodec"}
        return {"name": "pacodec", "configuration": {"model": self.model}}

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """UsageError for an array that is not uint8 [frames, ...]."""
        if dtype.to_native_dtype() != np.uint8 or len(shape) < 2:
            raise UsageError(f"an array is uint8 [frames, ...], not {dtype.to_native_dtype()} {list(shape)}")

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: "ArraySpec") -> int:
        """Not known beforehand."""
        raise NotImplementedError

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: "ArraySpec") -> Buffer | None:
        data = await asyncio.to_thread(to_bytes, chunk_data.as_numpy_array(), self.model)
        return chunk_spec.prototype.buffer.from_bytes(data)

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: "ArraySpec") -> NDBuffer:
        chunk = await asyncio.to_thread(from_bytes, chunk_data.to_bytes(), self.model)
        if chunk.shape != chunk_spec.shape:
            raise CorruptFileError(f"a chunk is of shape {chunk.shape} instead of {chunk_spec.shape}")
        return chunk_spec.prototype.nd_buffer.from_numpy_array(chunk)
