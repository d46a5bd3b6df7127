"""What a .pac file holds, read in milliseconds: imports neither torch nor PyAV."""

from collections import Counter
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from pacodec.common.files import naming
from pacodec.container import Header, Reader
from pacodec.transforms.base import PICTURE


@dataclass(frozen=True)
class Metadata:
    """What is known of a .pac file without decoding any of it.

    Sizes in pixels and bytes, `duration` in seconds, `ratio` raw RGB bytes over bytes of the file, `sizes` bytes by
    kind (codes, reference, side, header, index, audio, model, other), `coders` how many GOPs each coder made, `packets`
    which standard codec a coder's packets are of, where they are, `array` the shape of the arrays that the pictures
    stand for (see `pacodec.read_arrays`), None where they are nothing but pictures. From `begin_stream_seconds` to
    `end_stream_seconds` something is shown. The properties are what torchcodec calls the rest.
    """

    frames: int
    width: int
    height: int
    fps: float | None
    duration: float
    begin_stream_seconds: float
    end_stream_seconds: float
    transform: str
    model: str | None
    model_sha256: str | None
    quantizer: str
    coders: dict[str, int]
    packets: dict[str, str]
    grid: tuple[int, int, int]
    gops: int
    bytes: int
    raw_bytes: int
    ratio: float
    source_bytes: int | None
    bitrate_kbps: float | None
    audio_tracks: int
    rotation: int
    pixel_aspect: str | None
    array: tuple[int, ...] | None
    writer: str
    sizes: dict[str, int]
    truncated: bool
    damage: tuple[str, ...]

    @classmethod
    def of(cls, reader: Reader) -> "Metadata":
        """The metadata of an open file."""
        header: Header = reader.header
        video, model, sizes = header.video, header.model, reader.sizes
        total = sum(sizes.values())
        duration = float(sum(entry.end - entry.start for entry in reader.gops) * video.time_base)
        raw = reader.frames * video.width * video.height * 3
        aspect = video.pixel_aspect
        return cls(
            frames=reader.frames,
            width=video.width,
            height=video.height,
            fps=round(reader.frames / duration, 3) if duration else None,
            duration=duration,
            begin_stream_seconds=float(reader.gops[0].start * video.time_base) if reader.gops else 0.0,
            end_stream_seconds=float(reader.gops[-1].end * video.time_base) if reader.gops else 0.0,
            transform=header.transform.name,
            model=model.name if model else None,
            model_sha256=model.sha256.hex() if model else None,
            quantizer=header.quantizer.name,
            coders=dict(Counter(entry.coder for entry in reader.gops)),
            packets=_packets(header),
            grid=(header.grid.channels, header.grid.height, header.grid.width),
            gops=len(reader.gops),
            bytes=total,
            raw_bytes=raw,
            ratio=raw / total,
            source_bytes=reader.source_bytes,
            bitrate_kbps=total * 8 / 1000 / duration if duration else None,
            audio_tracks=len(video.audio),
            rotation=video.rotation,
            pixel_aspect=f"{aspect.numerator}:{aspect.denominator}" if aspect else None,
            array=video.array,
            writer=header.writer,
            sizes=sizes,
            truncated=reader.truncated,
            damage=tuple(reader.damage),
        )

    @property
    def num_frames(self) -> int:
        """Frames of the video."""
        return self.frames

    @property
    def duration_seconds(self) -> float:
        """From the first frame's beginning to the last one's end."""
        return self.end_stream_seconds - self.begin_stream_seconds

    @property
    def average_fps(self) -> float | None:
        """Frames a second, unrounded; None where they have no duration."""
        return self.frames / self.duration_seconds if self.duration_seconds else None

    @property
    def bit_rate(self) -> float | None:
        """Bits a second of the whole file; None where it has no duration."""
        return None if self.bitrate_kbps is None else 1000 * self.bitrate_kbps

    @property
    def codec(self) -> str:
        """What the frames are coded by: the transform's name."""
        return self.transform

    @property
    def pixel_aspect_ratio(self) -> Fraction | None:
        """Width over height of a pixel, None where square or unknown."""
        return None if self.pixel_aspect is None else Fraction(self.pixel_aspect.replace(":", "/"))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def _packets(header: Header) -> dict[str, str]:
    """The codec and pixel format of each coder's packets that a header describes, as far as it does."""
    described = {}
    for coder, stream in header.transform.params.items() if header.transform.name == PICTURE else ():
        codec, colour = (stream.get(key) for key in ("codec", "colour")) if isinstance(stream, dict) else ("", None)
        pixels = colour.get("pixel_format") if isinstance(colour, dict) else ""
        described[str(coder)] = f"{codec} {pixels}"
    return described


def info(path: str | Path) -> Metadata:
    """The metadata of a .pac file. Raises FileAccessError, CorruptFileError, UnsupportedError or LimitError."""
    with naming(path), Reader(path) as reader:
        return Metadata.of(reader)
