"""The audp chunk: a batch of encoded audio packets, little-endian.

    offset  size  field
    0       4     packets p, u32
    4       4     length t of the table, u32
    8       t     table (varints, packed as by `zstd_frames`): five columns of p each
    8+t     ..    the packets' bytes, one after another

Columns: stream * 2 + keyframe; zigzag of pts less that of the stream's previous packet in this chunk (or 0); zigzag of
dts less pts; duration; size.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from pacodec import limits
from pacodec.common.media import AudioPacket
from pacodec.common.zstd_frames import pack, unpack
from pacodec.container.gop import MAX_PTS
from pacodec.container.packing import MAX_VARINT_BYTES, decode_varints, encode_varints, unzigzag, zigzag
from pacodec.errors import CorruptFileError

FIELDS = struct.Struct("<II")
COLUMNS = 5
MAX_PACKETS = 1 << 16
"""Packets of one chunk."""
MAX_PACKET_ROW = COLUMNS * MAX_VARINT_BYTES
MAX_DATA_BYTES = limits.MAX_AUDIO_BYTES - FIELDS.size - 1 - MAX_PACKETS * MAX_PACKET_ROW
"""Bytes of the packets of one chunk: what is left beside the largest table."""


def pack_audio(packets: Iterable[AudioPacket], streams: int) -> Iterator[bytes]:
    """Payloads of the audp chunks that hold `packets` of a file with `streams` tracks, in order.

    CorruptFileError for a packet of no such track or with times beyond +-2^59, LimitError for one that is too long.
    """
    batch: list[AudioPacket] = []
    size = 0
    for packet in packets:
        _check(packet, streams)
        limits.check("the length of an audio packet", len(packet.data), MAX_DATA_BYTES)
        if len(batch) == MAX_PACKETS or size + len(packet.data) > MAX_DATA_BYTES:
            yield _pack(batch)
            batch, size = [], 0
        batch.append(packet)
        size += len(packet.data)
    if batch:
        yield _pack(batch)


def unpack_audio(data: bytes, streams: int) -> list[AudioPacket]:
    """The packets of an untrusted audp payload, in order; CorruptFileError or LimitError."""
    if len(data) < FIELDS.size:
        raise CorruptFileError("an audio chunk is shorter than its fixed fields")
    count, table_length = FIELDS.unpack_from(data)
    limits.check("the packets of an audio chunk", count, MAX_PACKETS)
    offset = FIELDS.size + table_length
    if offset > len(data):
        raise CorruptFileError("an audio table is longer than its chunk")
    packed = unpack(data[FIELDS.size : offset], "audio tables", count * MAX_PACKET_ROW)
    table = decode_varints(packed, COLUMNS * count)
    if len(table) != COLUMNS * count:
        raise CorruptFileError(f"an audio table has {len(table)} values instead of {COLUMNS * count}")
    tags, pts_steps, dts_offsets, durations, sizes = table.reshape(COLUMNS, count)
    # Python integers from here on: hostile columns must not wrap.
    rows = zip(
        tags.tolist(),
        unzigzag(pts_steps).tolist(),
        unzigzag(dts_offsets).tolist(),
        durations.tolist(),
        sizes.tolist(),
        strict=True,
    )
    packets = []
    last: dict[int, int] = {}
    for tag, step, dts_offset, duration, size in rows:
        stream = tag >> 1
        pts = last[stream] = last.get(stream, 0) + step
        if size > len(data) - offset:
            raise CorruptFileError("an audio packet is longer than its chunk")
        packet = AudioPacket(
            stream=stream,
            pts=pts,
            dts=pts + dts_offset,
            duration=duration,
            keyframe=bool(tag & 1),
            data=data[offset : offset + size],
        )
        _check(packet, streams)
        packets.append(packet)
        offset += size
    if offset != len(data):
        raise CorruptFileError(f"{len(data) - offset} bytes of an audio chunk belong to no packet")
    return packets


def _pack(packets: Sequence[AudioPacket]) -> bytes:
    steps = []
    last: dict[int, int] = {}
    for packet in packets:
        steps.append(packet.pts - last.get(packet.stream, 0))
        last[packet.stream] = packet.pts
    columns = (
        np.array([packet.stream * 2 + packet.keyframe for packet in packets], np.int64),
        zigzag(np.array(steps, np.int64)),
        zigzag(np.array([packet.dts - packet.pts for packet in packets], np.int64)),
        np.array([packet.duration for packet in packets], np.int64),
        np.array([len(packet.data) for packet in packets], np.int64),
    )
    table = pack(encode_varints(np.concatenate(columns)))
    return b"".join((FIELDS.pack(len(packets), len(table)), table, *(packet.data for packet in packets)))


def _check(packet: AudioPacket, streams: int) -> None:
    if not 0 <= packet.stream < streams:
        raise CorruptFileError(f"an audio packet belongs to track {packet.stream}, the file has {streams}")
    if max(abs(packet.pts), abs(packet.dts)) > MAX_PTS or not 0 <= packet.duration <= MAX_PTS:
        raise CorruptFileError(f"the times of an audio packet are beyond +-{MAX_PTS}")
