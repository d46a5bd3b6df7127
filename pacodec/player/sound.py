"""The sound of a file as one that browsers play: its packets as they are, in a container of their own."""

import io

import av
from av.error import FFmpegError

from pacodec import limits
from pacodec.container import Reader
from pacodec.errors import PacodecError
from pacodec.video.audio import add_audio_track, to_packet

SOUND_BYTES = 256 * limits.MIB
"""Of sound that is given to a browser."""
_CONTAINERS = {
    **dict.fromkeys(("aac", "mp3", "flac", "alac", "ac3", "eac3"), ("mp4", "audio/mp4")),
    **dict.fromkeys(("opus", "vorbis"), ("webm", "audio/webm")),
    **dict.fromkeys(("pcm_s16le", "pcm_s24le", "pcm_u8", "pcm_f32le"), ("wav", "audio/wav")),
}
"""Muxer and type of each codec that browsers know."""


def sound_of(reader: Reader) -> tuple[str, bytes] | None:
    """Type and bytes of the first audio track; None where there is none, or none that browsers play."""
    tracks = reader.header.video.audio
    if not tracks or tracks[0].codec not in _CONTAINERS or reader.sizes["audio"] > SOUND_BYTES:
        return None
    muxer, kind = _CONTAINERS[tracks[0].codec]
    file = io.BytesIO()
    try:
        with av.open(file, "w", format=muxer) as output:
            track = add_audio_track(output, tracks[0])
            for stored in reader.audio():
                if stored.stream:
                    continue
                output.mux(to_packet(stored, track, tracks[0].time_base))
    except (FFmpegError, ValueError, PacodecError):
        return None
    return kind, file.getvalue()
