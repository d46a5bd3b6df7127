"""The packets of a source that was lossily coded, as they are, in groups that decode to the right pictures alone."""

from __future__ import annotations  # av.Packet is generic to a type checker only

import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from av.error import FFmpegError

from pacodec import limits
from pacodec.base_layer.colour import Colour
from pacodec.base_layer.stream import DECODERS, MAX_PACKETS, CodedStream, StoredPacket, decoded
from pacodec.common.media import Image
from pacodec.errors import CorruptFileError, EstimateError
from pacodec.video.source import open_video, read_failure


def picture_crc(picture: Image, crc: int = 0) -> int:
    """CRC-32 of a picture uint8 [H, W, 3], going on from that of the pictures before."""
    return zlib.crc32(np.ascontiguousarray(picture).data, crc)


@dataclass(frozen=True)
class PacketGroup:
    """Packets from a keyframe on that decode alone, to `frames` pictures and `hidden` ones that are not shown.

    `crc` is that of all pictures shown, `joined_crc` that of those of the group before and these.
    """

    packets: list[StoredPacket] = field(repr=False)
    frames: int = 0
    crc: int = 0
    joined_crc: int = 0
    hidden: tuple[int, ...] = ()

    @property
    def bytes(self) -> int:
        """Bytes of the packets."""
        return sum(len(packet.data) for packet in self.packets)


class SourcePackets:
    """Demuxes the video stream of a file. Iterating gives the packets from one keyframe to the next, once.

    Raises:
        FileAccessError, CorruptFileError, LimitError: as `VideoReader`.
        EstimateError: the stream is of a codec that is not kept.
    """

    def __init__(self, source: str) -> None:
        self._name = source
        self._container, self._video = open_video(source)
        self._codec = self._video.codec_context.codec.canonical_name
        if self._codec not in DECODERS:
            self._container.close()
            raise EstimateError(f"{source}: {self._codec} packets are not kept")

    def close(self) -> None:
        """Close the source."""
        self._container.close()

    def stream(self, colour: Colour) -> CodedStream:
        """What holds for all packets, whose pictures become RGB by `colour`."""
        context = self._video.codec_context
        tag = context.codec_tag.encode("latin-1", "replace")
        return CodedStream(
            codec=self._codec,
            colour=colour,
            time_base=self._video.time_base or Fraction(1, limits.MIB),
            extradata=context.extradata or b"",
            tag=tag if len(tag) == len("mp4v") else bytes(4),
            container=self._container.format.name.split(",")[0],
        )

    def __iter__(self) -> Iterator[list[StoredPacket]]:
        group: list[StoredPacket] = []
        try:
            for packet in self._container.demux(self._video):
                if not packet.size:
                    continue
                stored = StoredPacket.of(packet)
                if stored.keyframe and group:
                    yield group
                    group = []
                group.append(stored)
                limits.check(f"{self._name}: packets between keyframes", len(group), MAX_PACKETS)
        except (FFmpegError, OSError) as error:
            raise read_failure(error, self._name) or CorruptFileError(
                f"{self._name}: its packets cannot be read to the end"
            ) from error
        if group:
            yield group


def independent_groups(
    stream: CodedStream, groups: Iterator[list[StoredPacket]], pictures: Iterator[int], least: int = 1
) -> Iterator[PacketGroup]:
    """Joins groups of packets until each decodes alone to the next pictures of the source, whose CRCs are given.

    Groups depend on each other where a keyframe does not end all references (open GOPs); ones of fewer than `least`
    pictures are joined to the next. EstimateError where no joining helps, or pictures are left over.
    """
    ahead: deque[int] = deque()
    current = PacketGroup([])
    for packets in groups:
        alone = _match(stream, packets, pictures, ahead, current)
        if alone is not None and alone.frames and current.frames >= least:
            yield current
            for _ in range(current.frames):
                ahead.popleft()
            current = alone
            continue
        joined = [*current.packets, *packets]
        limits.check("packets that depend on each other", len(joined), MAX_PACKETS)
        if alone is not None and (current.frames or not current.packets) and not (current.hidden or alone.hidden):
            current = PacketGroup(joined, current.frames + alone.frames, alone.joined_crc, alone.joined_crc)
        else:
            current = _match(stream, joined, pictures, ahead, PacketGroup([])) or PacketGroup(joined)
    if not current.frames or len(ahead) != current.frames or next(pictures, None) is not None:
        raise EstimateError("the source's packets do not decode to its pictures group by group")
    yield current


def _match(
    stream: CodedStream,
    packets: list[StoredPacket],
    pictures: Iterator[int],
    ahead: deque[int],
    before: PacketGroup,
) -> PacketGroup | None:
    """The group that packets are if they decode to the pictures in `ahead` after those of the group `before`.

    `ahead` grows as needed. None where a picture differs; one not shown must be matched by a packet that says so.
    """
    hidable = sum(packet.discard for packet in packets)
    hidden: list[int] = []
    shown, crc, joined = 0, 0, before.crc
    try:
        for place, frame in enumerate(decoded(stream, packets)):
            if not stream.colour.matches(frame):
                return None
            picture = stream.colour.rgb(frame)
            while len(ahead) <= before.frames + shown and (found := next(pictures, None)) is not None:
                ahead.append(found)
            if len(ahead) > before.frames + shown and picture_crc(picture) == ahead[before.frames + shown]:
                shown += 1
                crc, joined = picture_crc(picture, crc), picture_crc(picture, joined)
            elif len(hidden) < hidable:
                hidden.append(place)
            else:
                return None
    except CorruptFileError:
        return None
    return PacketGroup(packets, shown, crc, joined, tuple(hidden))
