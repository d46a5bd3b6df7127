"""The HEAD chunk: everything a decoder needs before the first GOP, as one msgpack map.

writer     str     what wrote the file
video      map     size, pixel aspect, rotation, colour, time base
grid       map     channels, height, width: int; ordinal: bool
transform  map     name: str, params: map
quantizer  map     name: str, params: map
predictor  map     name: str, params: map
model      map     name: str, sha256: 32 bytes; nil when none is needed
audio      array   one map a track
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from pacodec import limits
from pacodec.container import mapping
from pacodec.errors import CorruptFileError
from pacodec.grids import GridSpec
from pacodec.media import VideoFormat

MAX_NAME = 256
"""Characters of a name."""
SHA256_BYTES = 32


@dataclass(frozen=True)
class Component:
    """A transform, quantizer or predictor: its registered name and its parameters (plain msgpack values)."""

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_name(self.name, "name of a component")

    def to_dict(self) -> dict[str, Any]:
        """The map that the header carries."""
        return {"name": self.name, "params": self.params}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], what: str) -> Self:
        """The inverse of `to_dict`; CorruptFileError for missing or wrong fields."""
        return cls(mapping.field(values, "name", str, what), mapping.field(values, "params", dict, what))


@dataclass(frozen=True)
class ModelRef:
    """The model that a file needs: the name it was found under and the sha256 (32 bytes) that identifies it."""

    name: str
    sha256: bytes

    def __post_init__(self) -> None:
        _check_name(self.name, "name of the model")
        if len(self.sha256) != SHA256_BYTES:
            raise CorruptFileError(f"header: the model's sha256 has {len(self.sha256)} bytes instead of {SHA256_BYTES}")


@dataclass(frozen=True)
class Header:
    """What the HEAD chunk says; checked when made, so that every instance can be written and every read one trusted.

    Raises CorruptFileError for wrong values, LimitError for sizes over a bound.
    """

    writer: str
    video: VideoFormat
    grid: GridSpec
    transform: Component
    quantizer: Component
    predictor: Component
    model: ModelRef | None = None

    def __post_init__(self) -> None:
        _check_name(self.writer, "writer")
        limits.check("the height of the code grid", self.grid.height, limits.MAX_SIDE, least=1)
        limits.check("the width of the code grid", self.grid.width, limits.MAX_SIDE, least=1)
        limits.check("the channels of the code grid", self.grid.channels, limits.MAX_CODES_PER_FRAME, least=1)
        limits.check("the codes of a frame", self.grid.size, limits.MAX_CODES_PER_FRAME)

    def to_msgpack(self) -> bytes:
        """The payload of the HEAD chunk; equal headers give equal bytes. LimitError when it is too long."""
        grid = self.grid
        values = {
            "writer": self.writer,
            "video": self.video.to_dict(),
            "grid": {
                "channels": grid.channels,
                "height": grid.height,
                "width": grid.width,
                "ordinal": grid.ordinal,
            },
            "transform": self.transform.to_dict(),
            "quantizer": self.quantizer.to_dict(),
            "predictor": self.predictor.to_dict(),
            "model": self.model and {"name": self.model.name, "sha256": self.model.sha256},
        }
        data = mapping.pack_map(values, "header")
        limits.check("the length of the header", len(data), limits.MAX_HEADER_BYTES)
        return data

    @classmethod
    def from_msgpack(cls, data: bytes) -> Self:
        """Read an untrusted HEAD payload; keys that this version does not know are ignored."""
        values = mapping.unpack_map(data, "header", limits.MAX_HEADER_BYTES)
        grid = mapping.field(values, "grid", dict, "header")
        model = values.get("model")
        return cls(
            writer=mapping.field(values, "writer", str, "header"),
            video=VideoFormat.from_dict(mapping.field(values, "video", dict, "header")),
            grid=GridSpec(
                channels=mapping.field(grid, "channels", int, "header: grid"),
                height=mapping.field(grid, "height", int, "header: grid"),
                width=mapping.field(grid, "width", int, "header: grid"),
                ordinal=mapping.field(grid, "ordinal", bool, "header: grid"),
            ),
            transform=_component(values, "transform"),
            quantizer=_component(values, "quantizer"),
            predictor=_component(values, "predictor"),
            model=None if model is None else _model_ref(mapping.field(values, "model", dict, "header")),
        )


def _component(values: Mapping[str, Any], key: str) -> Component:
    return Component.from_dict(mapping.field(values, key, dict, "header"), f"header: {key}")


def _model_ref(values: Mapping[str, Any]) -> ModelRef:
    name = mapping.field(values, "name", str, "header: model")
    return ModelRef(name, mapping.field(values, "sha256", bytes, "header: model"))


def _check_name(text: str, what: str) -> None:
    # Names are printed on terminals: no escape sequences.
    if not text.isprintable() or len(text) > MAX_NAME:
        raise CorruptFileError(f"header: the {what} is over {MAX_NAME} characters or holds unprintable ones")
