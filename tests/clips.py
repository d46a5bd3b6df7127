"""Small video files made on the spot, and all that a reader gives for a file, for tests."""

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

from pacodec.common.media import AudioPacket, Frame
from pacodec.video.reader import VideoReader

ACCURATE = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
TIME_BASE = Fraction(1, 12800)
VARIANTS = {
    "plain": {},
    "one frame": {"frames": 1},
    "odd size": {"width": 63, "height": 47, "pixel_format": "yuv444p"},
    "tiny": {"width": 2, "height": 2, "options": {"preset": "ultrafast"}},
    "10 bit": {"pixel_format": "yuv420p10le"},
    "grey": {"pixel_format": "gray"},
    "b-frames": {"frames": 20, "options": {"bf": "3", "b_strategy": "0"}},
    "variable rate": {"times": [0, 512, 600, 2000, 2001, 9000, 9512]},
    "variable rate, b-frames": {"times": [0, 512, 600, 2000, 2001, 9000, 9512], "options": {"bf": "2"}},
    "late start": {"times": [40_001, 40_513, 41_025]},
    "ntsc": {"times": [0, 1, 2, 3], "time_base": Fraction(1001, 30000), "options": {"bf": "0"}},
    "turned": {"rotation": 90},
    "turned other way": {"rotation": -90},
    "upside down": {"rotation": 180},
    "wide pixels": {"pixel_aspect": Fraction(16, 11)},
    "bt709 full": {"color": (2, 1, 1, 1)},
    "bt601": {"color": (1, 6, 6, 6)},
    "bt470bg": {"color": (1, 5, 5, 6)},
    "bt2020 pq": {"color": (1, 9, 9, 16), "pixel_format": "yuv420p10le"},
    "bt2020 full": {"color": (2, 9, 9, 1)},
}
"""Arguments of `make_clip`: properties that must survive reading, writing and reading again."""


def picture(number: int, width: int = 64, height: int = 48) -> NDArray[np.uint8]:
    """A smooth picture, uint8 [height, width, 3], with a square that is elsewhere in each of the first 200."""
    y, x = np.mgrid[:height, :width]
    rgb = np.stack([40 + 150 * x / width, 60 + 120 * y / height, np.full(x.shape, 80.0 + 10 * (number % 8))], axis=-1)
    left, top = number * 3 % max(width - 8, 1), number // 8 * 5 % max(height - 8, 1)
    rgb[top : top + 8, left : left + 8] = (220, 30, 90)
    return rgb.round().astype(np.uint8)


def make_clip(
    path: Path | str,
    *,
    width: int = 64,
    height: int = 48,
    frames: int = 12,
    times: Sequence[int] | None = None,
    time_base: Fraction = TIME_BASE,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
    color: tuple[int, int, int, int] | None = None,
    rotation: int = 0,
    pixel_aspect: Fraction | None = None,
    audio: str | None = None,
    audio_start: int = 0,
    container_options: dict[str, str] | None = None,
) -> list[NDArray[np.uint8]]:
    """Write a clip in the format that the suffix says and return its pictures as they were before encoding.

    `times` are the presentation times in ticks of `time_base` (default: 25 frames/s from zero); `color` is range,
    matrix, primaries, transfer; `audio` the name of an encoder for one second of sound at 48 kHz that starts at sample
    `audio_start`.
    """
    pictures = [picture(number, width, height) for number in range(frames if times is None else len(times))]
    step = int(Fraction(1, 25) / time_base)
    times = [step * number for number in range(frames)] if times is None else times
    with av.open(str(path), "w", container_options=container_options or {}) as output:
        video: Any = output.add_stream(codec, rate=25, options=options or {})
        video.width, video.height, video.pix_fmt = width, height, pixel_format
        video.time_base = video.codec_context.time_base = time_base
        if color is not None:
            context = video.codec_context
            context.color_range, context.colorspace, context.color_primaries, context.color_trc = color
        if pixel_aspect is not None:
            video.codec_context.sample_aspect_ratio = pixel_aspect
        if rotation:
            video.set_display_rotation(rotation)
        sound = _sound(output, audio, audio_start) if audio else iter(())
        for rgb, pts in zip(pictures, times, strict=True):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
                format=pixel_format,
                dst_colorspace=color[1] if color else None,
                dst_color_range=color[0] if color else None,
                interpolation=ACCURATE,
            )
            frame.pts, frame.time_base = pts, time_base
            output.mux(video.encode(frame))
            output.mux(next(sound, []))
        output.mux(video.encode(None))
        for packets in sound:
            output.mux(packets)
    return pictures


def grain(number: int, width: int = 96, height: int = 64) -> NDArray[np.uint8]:
    """A picture with smooth shapes that move and film grain: no palette holds it, uint8 [height, width, 3]."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin((x + 3 * number) / (9 + c)) + np.cos((y - number) / (7 + c)) for c in range(3)]
    noise = np.random.default_rng(number).normal(0, 4, (height, width, 3))
    return np.clip(128 + 45 * np.stack(waves, -1) + noise, 0, 255).astype(np.uint8)


def lossy_clip(
    path: Path,
    codec: str = "libx264",
    frames: int = 40,
    options: dict[str, str] | None = None,
    pixel_format: str = "yuv420p",
    size: tuple[int, int] = (96, 64),
    make: Callable[..., NDArray[np.uint8]] = grain,
) -> Path:
    """A clip as cameras and recorders leave it."""
    with av.open(str(path), "w") as output:
        video = output.add_stream(codec, rate=25, options=options or {})
        video.width, video.height, video.pix_fmt = *size, pixel_format
        for number in range(frames):
            output.mux(video.encode(av.VideoFrame.from_ndarray(make(number, *size), format="rgb24")))
        output.mux(video.encode(None))
    return path


def make_sound(path: Path | str, codec: str) -> None:
    """Write a file that has one audio track and nothing else."""
    with av.open(str(path), "w") as output:
        for packets in _sound(output, codec, 0):
            output.mux(packets)


def _sound(output: av.container.OutputContainer, codec: str, start: int) -> Iterator[list[av.Packet]]:
    rate, block = 48_000, 960
    track: Any = output.add_stream(codec, rate=rate)
    track.layout = "stereo"
    for at in range(0, rate, block):
        wave = np.sin(np.arange(at, at + block) / 20)
        samples = np.stack([wave, wave / 2]).astype(np.float32) * 0.3
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = rate, start + at, Fraction(1, rate)
        yield track.encode(frame)
    yield track.encode(None)


class Clip:
    """Everything that a reader gives for one file, times in seconds."""

    def __init__(self, source):
        with VideoReader(source) as reader:
            self.format, self.hint, self.source_bytes = reader.format, reader.frames_hint, reader.source_bytes
            events = list(reader)
            self.warnings = reader.warnings
        self.frames = [event for event in events if isinstance(event, Frame)]
        self.packets = [event for event in events if isinstance(event, AudioPacket)]
        self.events = events

    @property
    def pictures(self):
        return [frame.rgb for frame in self.frames]

    @property
    def times(self):
        return [(f.pts * self.format.time_base, f.duration * self.format.time_base) for f in self.frames]

    @property
    def sound(self):
        base = [stream.time_base for stream in self.format.audio]
        return [(p.stream, p.pts * base[p.stream], p.dts * base[p.stream], p.keyframe, p.data) for p in self.packets]


def psnr(a, b):
    return 10 * np.log10(255**2 / max(np.mean((np.float64(a) - np.float64(b)) ** 2), 1e-9))
