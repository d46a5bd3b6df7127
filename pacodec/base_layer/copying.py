"""A base layer's packets to a video file as they are: nothing is decoded, so nothing is lost."""

import io
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import PurePath
from typing import Any

import av
import numpy as np
from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.stream import VideoStream

from pacodec.base_layer.decoding import packets_of
from pacodec.base_layer.stream import AV1, HIDDEN, SOURCE, CodedStream, StoredPacket, sequence_header, streams_of
from pacodec.common.media import AudioPacket, VideoFormat
from pacodec.container import Gop, Reader
from pacodec.errors import CorruptFileError, UsageError
from pacodec.transforms.base import PICTURE
from pacodec.video.audio import add_audio_track, check_audio_codec, to_packet
from pacodec.video.writer import OutputFile, Target

_MUXERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
_FAMILIES = {"mp4": "mov", "mov": "mov", "matroska": "matroska", "webm": "matroska"}
"""What FFmpeg calls the containers that a muxer's files are read as."""
_OURS = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm"})
"""Where packets of our own encoders go."""
_ENCODERS = {
    "av1": "libsvtav1",
    "h264": "libx264",
    "hevc": "libx265",
    "mpeg4": "mpeg4",
    "vp8": "libvpx",
    "vp9": "libvpx-vp9",
}
"""What a track of packets is made with: PyAV makes none without an encoder, which is never opened."""
_AHEAD = Fraction(1)
"""Seconds of audio written ahead of the pictures."""


def copy_obstacle(reader: Reader, target: str) -> str | None:
    """Why the packets of a file cannot be copied to a video file of that name, None where they can."""
    header = reader.header
    if header.transform.name != PICTURE:
        return "it holds no packets of a standard codec"
    suffix = PurePath(target).suffix.lower()
    muxer = _MUXERS.get(suffix)
    streams = streams_of(header.transform.params)
    coders = {entry.coder for entry in reader.gops}
    if len(coders) != 1 or not coders <= streams.keys():
        return "its GOPs are of several kinds"
    coder = coders.pop()
    stream = streams[coder]
    if coder != SOURCE and stream.colour.interlaced:
        return "they do not say that their pictures are interlaced, and would be shown with wrong chroma"
    fits = suffix in _OURS if coder != SOURCE else muxer is not None and _FAMILIES[muxer] == stream.container
    if not fits:
        return f"{stream.codec} packets{f' of a {stream.container} file' if coder == SOURCE else ''} do not go there"
    hidden = any(reader.gop(number).coder.params.get(HIDDEN) for number in range(len(reader.gops)))
    return "some of its packets are not to be shown" if hidden else None


class PacketWriter:
    """Writes packets of video and audio as they are.

    Raises FileAccessError where the target cannot be written, UsageError where its kind of file cannot hold the audio,
    CorruptFileError for packets that it refuses.
    """

    def __init__(self, target: Target, suffix: str, stream: CodedStream, extradata: bytes, video: VideoFormat) -> None:
        muxer = _MUXERS[suffix]
        for audio in video.audio:
            check_audio_codec(muxer, audio.codec)
        self._time_base = stream.time_base
        self._output_file = OutputFile(target)
        try:
            self._output = av.open(self._output_file, "w", format=muxer)
            self._track = _add_track(self._output, stream, extradata, video)
            self._audio = [add_audio_track(self._output, audio) for audio in video.audio]
        except BaseException:
            self._output_file.abandon()
            raise
        self._bases = [audio.time_base for audio in video.audio]

    def write(self, stored: StoredPacket) -> None:
        """Store a packet of video; times in the stream's time base."""
        packet = stored.to_packet()
        packet.stream, packet.time_base = self._track, self._time_base
        self._mux(packet)

    def write_audio(self, audio: AudioPacket) -> None:
        """Store a packet of audio."""
        self._mux(to_packet(audio, self._audio[audio.stream], self._bases[audio.stream]))

    def close(self) -> None:
        with self._output_file.failures(CorruptFileError(f"{self._output.format.name} cannot hold the packets")):
            self._output.close()
            self._output_file.close()

    def abandon(self) -> None:
        self._output_file.abandon()

    def _mux(self, packet: "Packet[Any]") -> None:
        refused = CorruptFileError(f"a packet at {packet.dts} does not go into {self._output.format.name}")
        with self._output_file.failures(refused):
            self._output.mux_one(packet)


def copy_packets(reader: Reader, target: Target, name: str, *, audio: bool) -> int:
    """Write all packets of a file for which there is no `copy_obstacle` to `target`, a kind of file that `name` tells.

    Returns the number of frames; raises as `PacketWriter`.
    """
    video = reader.header.video
    coder = reader.gops[0].coder
    stream = streams_of(reader.header.transform.params)[coder]
    first = packets_of(reader.gop(0))
    extradata = stream.extradata if coder == SOURCE else sequence_header(first[0].data) if coder == AV1 else b""
    if coder != SOURCE:
        stream = replace(stream, time_base=video.time_base)
    suffix = PurePath(name).suffix.lower()
    writer = PacketWriter(target, suffix, stream, extradata, video if audio else replace(video, audio=()))
    try:
        sounds = reader.audio() if audio else iter(())
        waiting = next(sounds, None)
        for number in range(len(reader.gops)):
            gop = reader.gop(number)
            for packet in _placed(gop, packets_of(gop), stream, video.time_base):
                now = (packet.dts or 0) * stream.time_base
                while waiting is not None and waiting.dts * video.audio[waiting.stream].time_base <= now + _AHEAD:
                    writer.write_audio(waiting)
                    waiting = next(sounds, None)
                writer.write(packet)
        while waiting is not None:
            writer.write_audio(waiting)
            waiting = next(sounds, None)
    except BaseException:
        writer.abandon()
        raise
    writer.close()
    return reader.frames


def _placed(gop: Gop, packets: list[StoredPacket], stream: CodedStream, time_base: Fraction) -> Iterator[StoredPacket]:
    """Packets at the times of the GOP's pictures: moved where the source did not begin at them, or given them."""
    begin = round(int(gop.pts[0]) * time_base / stream.time_base)
    if gop.coder.name == SOURCE:
        times = [packet.pts for packet in packets if packet.pts is not None]
        shift = begin - min(times, default=begin)
        yield from _in_decoding_order([_moved(packet, shift) if shift else packet for packet in packets])
        return
    # One coded picture a packet. H.264 is stored in decoding order, its pictures' order in the packets' own times.
    coded = np.flatnonzero(~gop.repeats)
    shown = [int(gop.pts[place]) for place in coded]
    ends = [*shown[1:], int(gop.pts[-1])]
    order = [number if packet.pts is None else packet.pts for number, packet in enumerate(packets)]
    if sorted(order) != list(range(len(shown))):
        raise CorruptFileError("a GOP's packets are not one for each of its pictures")
    made = [
        replace(packet, pts=shown[rank], duration=ends[rank] - shown[rank])
        for packet, rank in zip(packets, order, strict=True)
    ]
    yield from _in_decoding_order(made)


def _in_decoding_order(packets: list[StoredPacket]) -> list[StoredPacket]:
    """The same with times of decoding, which increase and come before those of showing, where they lack them."""
    if all(packet.dts is not None for packet in packets):
        return packets
    pts = [0 if packet.pts is None else packet.pts for packet in packets]
    ordered = sorted(pts)
    delay = max(number - ordered.index(time) for number, time in enumerate(pts))
    early = [ordered[0] - (delay - number) for number in range(delay)]
    decoding = [*early, *ordered][: len(packets)]
    return [replace(packet, dts=dts) for packet, dts in zip(packets, decoding, strict=True)]


def _moved(packet: StoredPacket, shift: int) -> StoredPacket:
    pts, dts = (None if time is None else time + shift for time in (packet.pts, packet.dts))
    return replace(packet, pts=pts, dts=dts)


def _add_track(output: OutputContainer, stream: CodedStream, extradata: bytes, video: VideoFormat) -> VideoStream:
    with av.open(io.BytesIO(), "w", format=output.format.name) as scratch:
        try:
            template = scratch.add_stream(_ENCODERS[stream.codec])
        except (ValueError, FFmpegError) as error:
            raise UsageError(f"{output.format.name} cannot hold {stream.codec} packets") from error
        assert isinstance(template, VideoStream)
        template.codec_context.width, template.codec_context.height = video.width, video.height
        track = output.add_stream_from_template(template, opaque=True)
    context = track.codec_context
    context.width, context.height = video.width, video.height
    context.pix_fmt = stream.colour.pixel_format
    context.extradata = extradata or None
    context.color_range, context.colorspace = video.color.range, video.color.matrix
    context.color_primaries, context.color_trc = video.color.primaries, video.color.transfer
    context.sample_aspect_ratio = video.pixel_aspect or Fraction(0, 1)
    context.framerate = video.frame_rate or Fraction(0, 1)
    track.time_base = stream.time_base
    if video.rotation:
        track.set_display_rotation(video.rotation)
    return track
