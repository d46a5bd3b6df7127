"""Audio tracks as plain data: taken from an open file, and put into a new one without opening an encoder."""

import io
import re
from fractions import Fraction
from typing import Any

import av
from av.audio.stream import AudioStream as AvAudioStream
from av.container import OutputContainer
from av.packet import Packet

from pacodec.common.media import AudioPacket, AudioStream
from pacodec.errors import CorruptFileError, UsageError

_MAX_BIT_RATE = (1 << 31) - 1
_LANGUAGE = re.compile(r"[A-Za-z0-9-]{1,16}")
_WHOLE_LAYOUT = re.compile(r"[a-z0-9.]+(\([a-z0-9-]+\))?")
_SUFFIXES = {"mp4": ".mp4", "mov": ".mov", "matroska": ".mkv"}


def is_usable(stream: AvAudioStream) -> bool:
    """Whether FFmpeg knows enough of an audio track for it to be copied."""
    context = stream.codec_context
    known = context is not None and context.sample_rate > 0 and context.format is not None
    return known and context.layout.nb_channels > 0 and bool(stream.time_base)


def describe_audio(stream: AvAudioStream) -> AudioStream:
    """What a muxer must know of an audio track, out of an open input."""
    context = stream.codec_context
    layout = context.layout.name
    if not _WHOLE_LAYOUT.fullmatch(layout):
        # Channels without positions, or in an order of their own: muxers want the usual layout of that many.
        layout = av.AudioLayout(f"{context.layout.nb_channels}c").name
    assert stream.time_base is not None
    return AudioStream(
        codec=context.codec.canonical_name,
        time_base=stream.time_base,
        sample_rate=context.sample_rate,
        layout=layout if _WHOLE_LAYOUT.fullmatch(layout) else f"{context.layout.nb_channels}c",
        sample_format=context.format.name,
        extradata=context.extradata or b"",
        bit_rate=min(max(context.bit_rate or 0, 0), _MAX_BIT_RATE),
        language=stream.language if _LANGUAGE.fullmatch(stream.language or "") else None,
    )


def add_audio_track(output: OutputContainer, audio: AudioStream) -> AvAudioStream:
    """Add a track to `output` for packets that are already encoded; `check_audio_codec` must have let them pass.

    Raises:
        CorruptFileError: FFmpeg does not know the layout or the sample format.
    """
    # A stream copied from a template is never opened for encoding, and takes its parameters from the context that
    # hangs on it. PyAV has no other way to set the extradata and layout of a track of packets.
    with av.open(io.BytesIO(), "w", format=output.format.name) as scratch:
        template = scratch.add_stream(audio.codec)
        assert isinstance(template, AvAudioStream)
        track = output.add_stream_from_template(template, opaque=True)
    context = track.codec_context
    try:
        context.layout = audio.layout
        context.format = audio.sample_format
    except ValueError as error:
        raise CorruptFileError(f"audio layout {audio.layout!r} or format {audio.sample_format!r} is unknown") from error
    context.sample_rate = audio.sample_rate
    context.bit_rate = audio.bit_rate
    context.extradata = audio.extradata or None
    track.time_base = audio.time_base
    if audio.language:
        track.metadata["language"] = audio.language
    return track


def to_packet(stored: AudioPacket, track: AvAudioStream, time_base: Fraction) -> "Packet[Any]":
    """A packet for the muxer that has the track, whose times are in that time base."""
    packet: Packet[Any] = Packet(stored.data)
    packet.stream, packet.time_base = track, time_base
    packet.pts, packet.dts, packet.duration = stored.pts, stored.dts, stored.duration
    packet.is_keyframe = stored.keyframe
    return packet


def check_audio_codec(container: str, codec: str) -> None:
    """UsageError, naming the suffix that would do, unless packets of `codec` can go into `container`."""
    if _carries(container, codec):
        return
    able = [suffix for name, suffix in _SUFFIXES.items() if _carries(name, codec)]
    cure = f"write {' or '.join(able)}, or leave the audio out" if able else "leave the audio out"
    raise UsageError(f"{_SUFFIXES[container]} cannot hold {codec} audio: {cure}")


def _carries(container: str, codec: str) -> bool:
    with av.open(io.BytesIO(), "w", format=container) as scratch:
        if codec not in scratch.supported_codecs:
            return False
        try:
            scratch.add_stream(codec)
        except ValueError:
            return False
    return True
