"""AV1 as a plain sequence of OBUs: what SVT-AV1 gives without what a GOP's decoder can do without, and back."""

from collections.abc import Iterator, Sequence

from pacodec.base_layer.stream import MAX_PACKETS, StoredPacket
from pacodec.errors import CorruptFileError

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
