"""A standard codec's packets as the payload of a GOP: how they are laid out, described, and decoded to RGB."""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import msgpack
import numpy as np
import zstandard
from av.error import FFmpegError
from av.packet import Packet, PacketSideData

from pacodec import limits
from pacodec.base_layer.colour import Colour
from pacodec.common import zstd_frames
from pacodec.container import packing
from pacodec.errors import CorruptFileError, UnsupportedError

AV1, H264, SOURCE = "av1", "h264", "source"
"""Coders of a GOP: packets of those codecs that were made here, and those that the source was stored in."""
CODERS = (AV1, H264, SOURCE)
HIDDEN = "hidden"
"""The parameter of a GOP's coder that lists which decoded pictures are not shown, by their place in output order."""

DECODERS: Mapping[str, str] = {
    "av1": "libdav1d",
    "h264": "h264",
    "hevc": "hevc",
    "mpeg4": "mpeg4",
    "vp8": "vp8",
    "vp9": "vp9",
}
"""Codecs of a base layer, by FFmpeg's names, and what decodes them."""
MAX_EXTRADATA = 1 << 18
"""Bytes of a codec's global header."""
MAX_PACKETS = 1 << 17
"""Packets of one GOP."""
MAX_HEADERS = 1 << 20
"""Bytes of new global headers in one GOP."""
_TAG_BYTES = 4
_LAYOUT = struct.Struct("<III")
_UNKNOWN = -(1 << 63)
"""A time stamp that a packet lacks."""
_COLUMNS = 5
_KEYFRAME, _DISCARD = 1, 2
_NEW_EXTRADATA = 1
"""FFmpeg's number of the side data that hold a global header."""
_LEVEL = 19
_THREADS = 4


@dataclass(frozen=True)
class StoredPacket:
    """A coded packet; times in the time base of its stream, None where it has none.

    `header`: the codec's global header from here on, empty where that does not change.
    """

    data: bytes = field(repr=False)
    pts: int | None = None
    dts: int | None = None
    duration: int = 0
    keyframe: bool = False
    discard: bool = False
    header: bytes = field(default=b"", repr=False)

    @classmethod
    def of(cls, packet: "Packet[Any]") -> "StoredPacket":
        """A packet as FFmpeg gives it."""
        return cls(
            bytes(packet),
            packet.pts,
            packet.dts,
            packet.duration or 0,
            packet.is_keyframe,
            packet.is_discard,
            bytes(packet.get_sidedata("new_extradata")) if packet.has_sidedata("new_extradata") else b"",
        )

    def to_packet(self) -> "Packet[Any]":
        """The packet for a decoder or a muxer."""
        packet: Packet[Any] = Packet(len(self.data))  # with the zeros behind it that decoders read, unlike Packet(data)
        packet.update(self.data)
        packet.pts, packet.dts, packet.duration = self.pts, self.dts, self.duration
        packet.is_keyframe = self.keyframe
        if self.header:
            beside = PacketSideData(_NEW_EXTRADATA, len(self.header))  # type: ignore[call-arg]
            beside.update(self.header)
            packet.set_sidedata(beside)
        return packet


@dataclass(frozen=True)
class CodedStream:
    """What holds for all packets of one coder: codec, global header, how its pictures become RGB.

    `tag` is the four characters by which some decoders know whose encoder it was; `container` FFmpeg's name of the kind
    of file that the packets come from, empty where they come from none.
    """

    codec: str
    colour: Colour
    time_base: Fraction
    extradata: bytes = field(default=b"", repr=False)
    tag: bytes = bytes(_TAG_BYTES)
    container: str = ""

    def __post_init__(self) -> None:
        if self.codec not in DECODERS:
            raise UnsupportedError(f"a base layer of {self.codec!r}; this version knows {', '.join(DECODERS)}")
        limits.check("the global header of the base layer", len(self.extradata), MAX_EXTRADATA)
        if len(self.tag) != _TAG_BYTES or len(self.container) > limits.MAX_SIDE or not self.container.isprintable():
            raise CorruptFileError("base layer: the tag or the container's name is not one")
        if self.time_base <= 0:
            raise CorruptFileError(f"base layer: the time base {self.time_base} is not positive")

    def to_dict(self) -> dict[str, Any]:
        """Values that msgpack can hold; `from_dict` is the inverse."""
        return {
            "codec": self.codec,
            "colour": self.colour.to_dict(),
            "time_base": [self.time_base.numerator, self.time_base.denominator],
            "extradata": self.extradata,
            "tag": self.tag,
            "container": self.container,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "CodedStream":
        """Read what `to_dict` gave from untrusted data; CorruptFileError, LimitError or UnsupportedError otherwise."""
        what = "base layer"
        match packing.field(values, "time_base", list, what):
            case [int(numerator), int(denominator)] if 0 < numerator < 1 << 31 and 0 < denominator < 1 << 31:
                time_base = Fraction(numerator, denominator)
            case _:
                raise CorruptFileError("base layer: the time base is not a positive fraction")
        return cls(
            codec=packing.field(values, "codec", str, what),
            colour=Colour.from_dict(packing.field(values, "colour", dict, what)),
            time_base=time_base,
            extradata=packing.field(values, "extradata", bytes, what),
            tag=packing.field(values, "tag", bytes, what),
            container=packing.field(values, "container", str, what),
        )

    def decoder(self, largest: int = limits.MAX_PIXELS) -> av.VideoCodecContext:
        """A decoder that has seen nothing yet, and takes memory for pictures of at most `largest` pixels."""
        context = av.CodecContext.create(DECODERS[self.codec], "r")
        assert isinstance(context, av.VideoCodecContext)
        if self.extradata:
            context.extradata = self.extradata
        if any(self.tag):
            context.codec_tag = self.tag.decode("latin-1")
        context.options = {"max_pixels": str(largest)}
        context.thread_count = _THREADS
        return context


def pack(packets: Sequence[StoredPacket]) -> bytes:
    """The payload of a GOP: how many packets, two lengths, a table of times, new headers, then the packets' bytes.

    offset  size  field
    0       4     packets n, u32: 1 ..
    4       4     bytes of the table t, u32
    8       4     bytes of new headers s, u32: 0 where there are none
    12      t     table, one zstd frame: i64 [5, n], little-endian, each row the differences from left to right of:
                  size; dts; pts - dts, or pts where there is no dts; duration; flags (1 keyframe, 2 not to be shown).
                  -2^63 stands for a time that is not there. Differences are modulo 2^64.
    12+t    s     new global headers, msgpack: array of [number of the packet, bytes]
    12+t+s        the packets, one after the other
    """
    table = np.zeros((_COLUMNS, len(packets)), np.int64)
    for i, packet in enumerate(packets):
        pts, dts = packet.pts, packet.dts
        reorder = _UNKNOWN if pts is None else pts if dts is None else pts - dts
        flags = _KEYFRAME * packet.keyframe | _DISCARD * packet.discard
        table[:, i] = len(packet.data), _UNKNOWN if dts is None else dts, reorder, packet.duration, flags
    with np.errstate(over="ignore"):
        table[:, 1:] = np.diff(table, axis=1)
    rows = zstandard.ZstdCompressor(level=_LEVEL).compress(table.astype("<i8").tobytes())
    headers = [[i, packet.header] for i, packet in enumerate(packets) if packet.header]
    side = msgpack.packb(headers) if headers else b""
    return b"".join([_LAYOUT.pack(len(packets), len(rows), len(side)), rows, side, *(p.data for p in packets)])


def unpack(payload: bytes) -> list[StoredPacket]:
    """The packets of a GOP; CorruptFileError or LimitError where the payload is not what `pack` gives."""
    if len(payload) < _LAYOUT.size:
        raise CorruptFileError("a GOP's packets: cut short")
    count, rows, side = _LAYOUT.unpack_from(payload)
    limits.check("the packets of a GOP", count, MAX_PACKETS, least=1)
    limits.check("the new headers of a GOP", side, MAX_HEADERS)
    begin = _LAYOUT.size
    size = _COLUMNS * 8 * count
    raw = zstd_frames.unpack(zstd_frames.ZSTD + payload[begin : begin + rows], "the times of a GOP's packets", size)
    if len(raw) != size:
        raise CorruptFileError("a GOP's packets: their table is of the wrong length")
    with np.errstate(over="ignore"):
        table = np.frombuffer(raw, "<i8").reshape(_COLUMNS, count).astype(np.int64).cumsum(axis=1)
    sizes = table[0].tolist()
    position = begin + rows + side
    if min(sizes) < 0 or max(sizes) > len(payload) or position + sum(sizes) != len(payload):
        raise CorruptFileError("a GOP's packets do not add up to its payload")
    headers = _headers(payload[position - side : position], count) if side else {}
    packets = []
    for i, (length, dts, reorder, duration, flags) in enumerate(table.T.tolist()):
        known = None if dts == _UNKNOWN else dts
        pts = None if reorder == _UNKNOWN else reorder + (known or 0)
        if any(abs(time or 0) > 1 << 62 for time in (known, pts)) or not 0 <= duration < 1 << 62:
            raise CorruptFileError("a GOP's packets: a time stamp is out of range")
        data = payload[position : position + length]
        position += length
        shown = bool(flags & _KEYFRAME), bool(flags & _DISCARD)
        packets.append(StoredPacket(data, pts, known, duration, *shown, headers.get(i, b"")))
    return packets


def _headers(raw: bytes, count: int) -> dict[int, bytes]:
    try:
        entries = msgpack.unpackb(raw)
    except (ValueError, msgpack.UnpackException) as error:
        raise CorruptFileError("a GOP's packets: their headers are damaged") from error
    found = {}
    for entry in entries if isinstance(entries, list) else [None]:
        match entry:
            case [int(number), bytes(data)] if 0 <= number < count:
                found[number] = data
            case _:
                raise CorruptFileError("a GOP's packets: their headers are damaged")
    return found


def decoded(
    stream: CodedStream, packets: Iterable[StoredPacket], largest: int = limits.MAX_PIXELS
) -> Iterator[av.VideoFrame]:
    """The pictures of packets that begin with a keyframe, in the order in which they are shown.

    CorruptFileError where they do not decode, or are of more than `largest` pixels.
    """
    context = stream.decoder(largest)
    try:
        for packet in packets:
            yield from context.decode(packet.to_packet())
        yield from context.decode(None)
    except (FFmpegError, ValueError) as error:
        raise CorruptFileError(f"a GOP's {stream.codec} packets do not decode: {error}") from error


def streams_of(params: Mapping[str, Any]) -> dict[str, CodedStream]:
    """The streams by coder that the parameters of the transform `picture` describe; raises as `CodedStream`."""
    streams = {}
    for coder, values in params.items():
        if coder not in CODERS or not isinstance(values, dict):
            raise UnsupportedError(f"a base layer of the coder {coder!r}; this version knows {', '.join(CODERS)}")
        streams[coder] = CodedStream.from_dict(values)
    return streams


_SEQUENCE_HEADER, _TEMPORAL_DELIMITER, _FRAME_HEADER, _FRAME = 1, 2, 3, 6
_EXTENSION, _HAS_SIZE = 0x04, 0x02
_EXISTING, _SHOWN = 0x80, 0x10
_KIND_SHIFT, _KIND_MASK = 3, 0x0F
_SIZE_BYTES, _MORE = 4, 0x80


def pack_obus(packets: Sequence[StoredPacket]) -> bytes:
    """The OBUs of temporal units one after the other, without temporal delimiters."""
    kept = []
    for packet in packets:
        kept += [data for kind, data, _ in _obus(packet.data) if kind != _TEMPORAL_DELIMITER]
    return b"".join(kept)


def unpack_obus(payload: bytes) -> list[StoredPacket]:
    """Temporal units without their delimiters, as MP4 holds them: each ends with the frame that it shows.

    CorruptFileError where the bytes are no OBUs with sizes, or do not end with a shown frame.
    """
    units: list[StoredPacket] = []
    unit: list[bytes] = []
    for kind, data, content in _obus(payload):
        unit.append(data)
        if kind in (_FRAME_HEADER, _FRAME) and content and content[0] & (_EXISTING | _SHOWN):
            units.append(StoredPacket(b"".join(unit), keyframe=not units))
            unit = []
    if unit or not units or len(units) > MAX_PACKETS:
        raise CorruptFileError("a GOP's AV1 packets do not end with a frame that is shown")
    return units


def sequence_header(unit: bytes) -> bytes:
    """The OBU of a temporal unit that describes the sequence, empty where it has none."""
    return next((data for kind, data, _ in _obus(unit) if kind == _SEQUENCE_HEADER), b"")


def _obus(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """(kind, all bytes, bytes after header and size) of each OBU; CorruptFileError where they do not fit together."""
    position = 0
    while position < len(data):
        header = data[position]
        start = position + 1 + bool(header & _EXTENSION)
        if not header & _HAS_SIZE:
            raise CorruptFileError("a GOP's AV1 packets: an OBU does not say how long it is")
        size = shift = 0
        while True:
            if start >= len(data) or shift >= 7 * _SIZE_BYTES:
                raise CorruptFileError("a GOP's AV1 packets: cut short")
            size |= (data[start] & ~_MORE) << shift
            start, shift = start + 1, shift + 7
            if not data[start - 1] & _MORE:
                break
        end = start + size
        if end > len(data):
            raise CorruptFileError("a GOP's AV1 packets: cut short")
        yield header >> _KIND_SHIFT & _KIND_MASK, data[position:end], data[start : start + 1]
        position = end
