"""The GOPC chunk: one independent group of pictures, little-endian.

    offset  size  field
    0       4     number of the first frame in the file, u32
    4       4     frames n, u32: 1 ..
    8       4     coded frames, u32: n less the repeats
    12      4     CRC-32 of the decoded codes of the coded frames, in order, u32
    16      4     length s of the side map, u32
    20      s     side map
    20+s    ..    the coder's payload

Side map: pts; and where they are not what is usual: repeats, coder (a name), coder_params, quantizer, transform.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pacodec import limits
from pacodec.common.zstd_frames import pack, unpack
from pacodec.container import packing
from pacodec.container.header import Component
from pacodec.container.packing import MAX_VARINT_BYTES, decode_varints, encode_varints, unzigzag, zigzag
from pacodec.errors import CorruptFileError

FIELDS = struct.Struct("<IIIII")
MAX_PTS = 1 << 59
"""Magnitude of a presentation timestamp: second differences of these still fit a 62-bit zigzag."""
ENGINE = "engine"
"""The coder of a GOP that names none."""
ENGINE_CODER = Component(ENGINE)
MAX_SIDE_BYTES = limits.MAX_HEADER_BYTES


@dataclass(frozen=True, eq=False)
class Gop:
    """n frames that decode without other GOPs; checked when made.

    first_frame: number of the first frame in the file. pts: int64 [n + 1], presentation timestamps in units of the
    video's time base, strictly increasing, the last being the end of the last frame (it may equal that frame's start).
    repeats: bool [n], frames identical to their predecessor, which have no codes; never the first. codes_crc:
    zlib.crc32 of the codes of the other frames, in order. payload: the coder's bytes. coder: what made them.
    quantizer, transform: parameters of this GOP that override the header's. Raises CorruptFileError or LimitError.
    """

    first_frame: int
    pts: NDArray[np.int64]
    repeats: NDArray[np.bool_]
    codes_crc: int
    payload: bytes
    quantizer: Mapping[str, Any] = field(default_factory=dict)
    transform: Mapping[str, Any] = field(default_factory=dict)
    coder: Component = ENGINE_CODER

    def __post_init__(self) -> None:
        limits.check("the frames of a GOP", self.frames, limits.MAX_GOP_FRAMES, least=1)
        limits.check("the number of frames", self.first_frame + self.frames, limits.MAX_FRAMES, least=1)
        if len(self.pts) != self.frames + 1:
            raise CorruptFileError(
                f"{self.frames} frames have {len(self.pts)} timestamps instead of one more than that"
            )
        if self.repeats[0]:
            raise CorruptFileError("the first frame of a GOP cannot repeat another")
        steps = self.pts[1:] > self.pts[:-1]
        if not steps[:-1].all() or self.pts[-1] < self.pts[-2]:
            raise CorruptFileError("presentation timestamps do not increase")
        if max(abs(int(self.pts[0])), abs(int(self.pts[-1]))) > MAX_PTS:
            raise CorruptFileError(f"presentation timestamps are beyond +-{MAX_PTS}")

    @property
    def frames(self) -> int:
        """Frames of the GOP, repeats included."""
        return len(self.repeats)

    @property
    def coded_frames(self) -> int:
        """Frames that the payload holds codes of."""
        return self.frames - int(np.count_nonzero(self.repeats))

    @property
    def start(self) -> int:
        """The time of the first frame, in ticks of the header's time base."""
        return int(self.pts[0])

    @property
    def end(self) -> int:
        """The time at which the last frame ends, in ticks of the header's time base."""
        return int(self.pts[-1])

    def to_payload(self) -> tuple[bytes, bytes]:
        """The chunk's payload in two parts: fields and side map, then the coder's payload."""
        side: dict[str, Any] = {"pts": _pack_pts(np.asarray(self.pts, np.int64))}
        if self.repeats.any():
            side["repeats"] = pack(np.packbits(self.repeats, bitorder="little").tobytes())
        if self.coder.name != ENGINE:
            side["coder"] = self.coder.name
        if self.coder.params:
            side["coder_params"] = self.coder.params
        if self.quantizer:
            side["quantizer"] = self.quantizer
        if self.transform:
            side["transform"] = self.transform
        packed = packing.pack_map(side, "side map")
        limits.check("the length of a side map", len(packed), MAX_SIDE_BYTES)
        fields = FIELDS.pack(self.first_frame, self.frames, self.coded_frames, self.codes_crc, len(packed))
        return fields + packed, self.payload

    @classmethod
    def from_payload(cls, data: bytes) -> Self:
        """Read an untrusted GOPC payload; side keys that this version does not know are ignored."""
        first_frame, frames, coded_frames, codes_crc, side_end = side_extent(data[: FIELDS.size])
        if side_end > len(data):
            raise CorruptFileError("the side map is longer than its chunk")
        limits.check("the frames of a GOP", frames, limits.MAX_GOP_FRAMES, least=1)
        side = packing.unpack_map(data[FIELDS.size : side_end], "side map", MAX_SIDE_BYTES)
        gop = cls(
            first_frame=first_frame,
            pts=_unpack_pts(packing.field(side, "pts", bytes, "side map"), frames),
            repeats=_unpack_repeats(side, frames),
            codes_crc=codes_crc,
            payload=data[side_end:],
            quantizer=_params(side, "quantizer"),
            transform=_params(side, "transform"),
            coder=Component(
                packing.field(side, "coder", str, "side map") if "coder" in side else ENGINE,
                _params(side, "coder_params"),
            ),
        )
        if gop.coded_frames != coded_frames:
            raise CorruptFileError(f"{coded_frames} frames are coded, but {gop.coded_frames} do not repeat another")
        return gop


def _params(side: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = packing.field(side, key, dict, "side map") if key in side else {}
    return found


def side_extent(fields: bytes) -> tuple[int, int, int, int, int]:
    """First frame, frames, coded frames, codes' CRC, and the offset in the payload at which the side map ends."""
    if len(fields) < FIELDS.size:
        raise CorruptFileError("a GOP is shorter than its fixed fields")
    first_frame, frames, coded_frames, codes_crc, side_length = FIELDS.unpack(fields)
    limits.check("the length of a side map", side_length, MAX_SIDE_BYTES)
    return first_frame, frames, coded_frames, codes_crc, FIELDS.size + side_length


def _pack_pts(pts: NDArray[np.int64]) -> bytes:
    """First timestamp, first difference, then second differences; zeros at the end are left out."""
    steps = np.diff(pts)
    column = np.concatenate((pts[:1], steps[:1], np.diff(steps)))
    used = np.flatnonzero(column)
    return pack(encode_varints(zigzag(column[: used[-1] + 1 if used.size else 0])))


def _unpack_pts(data: bytes, frames: int) -> NDArray[np.int64]:
    packed = unpack(data, "timestamps", MAX_VARINT_BYTES * (frames + 1))
    stored = unzigzag(decode_varints(packed, frames + 1))
    column = np.zeros(frames + 1, np.int64)
    column[: len(stored)] = stored
    # Hostile differences wrap around 2^64; what comes out is checked like any other timestamps.
    column[1:] = np.cumsum(column[1:])
    return np.cumsum(column)


def _unpack_repeats(side: Mapping[str, Any], frames: int) -> NDArray[np.bool_]:
    if "repeats" not in side:
        return np.zeros(frames, np.bool_)
    size = -(-frames // 8)
    bits = unpack(packing.field(side, "repeats", bytes, "side map"), "repeat flags", size)
    flags = np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little").astype(np.bool_)
    if len(bits) != size or flags[frames:].any():
        raise CorruptFileError(f"the repeat flags do not fit {frames} frames")
    return flags[:frames]
