"""What is compared: codecs with all their settings, each of which encodes a clip to packets and decodes it again.

They are the encoders that PyAV carries; libaom's own program `aomenc`, the one AV1 encoder with 4:4:4 and all screen
tools; animated WebP; zstd or xz of what changed from frame to frame; and pacodec itself, or its base layer alone, whose
bytes are those of a whole .pac file.
"""

import hashlib
import lzma
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from io import BytesIO
from itertools import repeat
from pathlib import Path
from typing import IO, Any, Literal, Protocol, cast

import av
import numpy as np
import zstandard
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.plane import VideoPlane
from PIL import Image as Pillow
from PIL import features

import pacodec
from pacodec.base_layer.choose_codec import Untried, decide, probe
from pacodec.base_layer.pipeline import BaseLayerPipeline
from pacodec.common.media import Image
from pacodec.errors import EstimateError, UsageError
from pacodec.evaluation.clips import Clip
from pacodec.evaluation.quality import RGB_FORMATS, Chroma, Planes
from pacodec.models import library as models
from pacodec.options import EncodeOptions
from pacodec.video.reader import VideoReader


@dataclass(frozen=True)
class Encoded:
    """A coded clip: `packets` are all that a decoder needs, `notes` what is worth saying about them, fit for JSON."""

    packets: list[bytes]
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of all packets."""
        return sum(map(len, self.packets))


class Codec(Protocol):
    """A frozen dataclass: its fields are the settings, fit for JSON."""

    def encode(self, clip: Clip) -> Encoded:
        """Code all frames, on one core."""

    def decode(self, clip: Clip, packets: list[bytes]) -> Iterator[Image]:
        """The decoded frames, uint8 [H, W, 3], in order, on one core."""

    def identity(self) -> str:
        """What beside its settings decides the bytes: versions of libraries, weights."""


ONE_KEYFRAME = 9999
"""Frames from a keyframe to the next that no clip reaches."""


@dataclass(frozen=True)
class FFmpegCodec:
    """One of FFmpeg's encoders with its options; constant quality, one keyframe, packets counted without container."""

    encoder: str
    decoder: str
    pixel_format: str
    chroma: Chroma
    options: Mapping[str, str]
    threads: int = 1

    def encode(self, clip: Clip) -> Encoded:
        planes = Planes(self.pixel_format, self.chroma)
        context = cast(VideoCodecContext, av.CodecContext.create(self.encoder, "w"))
        context.width, context.height, context.pix_fmt = clip.width, clip.height, self.pixel_format
        context.time_base, context.framerate = 1 / clip.rate, clip.rate
        context.color_range, context.colorspace = planes.tags.range, planes.tags.matrix
        context.color_primaries, context.color_trc = planes.tags.primaries, planes.tags.transfer
        context.gop_size = max(ONE_KEYFRAME, clip.frames)
        context.thread_count = self.threads
        context.options = dict(self.options)
        packets: list[bytes] = []
        for number, rgb in enumerate(clip.stream()):
            frame = planes.to_frame(rgb)
            frame.pts, frame.time_base = number, context.time_base
            packets += [bytes(packet) for packet in context.encode(frame)]
        packets += [bytes(packet) for packet in context.encode(None)]
        return Encoded(packets)

    def decode(self, clip: Clip, packets: list[bytes]) -> Iterator[Image]:
        return decode_packets(self.decoder, Planes(self.pixel_format, self.chroma), clip, packets)

    def identity(self) -> str:
        """PyAV's version, which says those of the encoders in its wheel."""
        return f"{av.__version__} {sorted(av.library_versions.items())}"


def decode_packets(decoder: str, planes: Planes, clip: Clip, packets: list[bytes]) -> Iterator[Image]:
    """Decode with one of FFmpeg's decoders."""
    context = cast(VideoCodecContext, av.CodecContext.create(decoder, "r"))
    context.width, context.height = clip.width, clip.height  # FFV1 does not say
    context.thread_count = 1
    for data in [*packets, None]:
        for frame in context.decode(None if data is None else Packet(data)):
            yield planes.to_rgb(frame)


PROGRAM = "aomenc"
_CHROMA = {"yuv444p": "444", "yuv420p": "420", "gbrp": "444"}


@dataclass(frozen=True)
class AomencCodec:
    """AV1 at constant quality `level` (0 best to 63), or lossless (None), in RGB, 4:4:4 or 4:2:0, with screen tools."""

    pixel_format: str
    chroma: Chroma
    level: int | None

    def encode(self, clip: Clip) -> Encoded:
        """Code all frames; UsageError with the program's own words where it fails."""
        with tempfile.TemporaryDirectory() as folder:
            raw, target = Path(folder, "clip.y4m"), Path(folder, "clip.ivf")
            self._write_y4m(clip, raw)
            done = subprocess.run(  # noqa: S603 - no shell, and nothing in it comes from a file
                [*self._command(clip), f"--output={target}", str(raw)], capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise UsageError(f"{PROGRAM} fails: {' '.join(done.stderr.split())[-300:]}")
            with av.open(str(target)) as container:
                return Encoded([bytes(packet) for packet in container.demux(video=0) if packet.size])

    def decode(self, clip: Clip, packets: list[bytes]) -> Iterator[Image]:
        """The decoded frames, by dav1d."""
        return decode_packets("libdav1d", Planes(self.pixel_format, self.chroma), clip, packets)

    def identity(self) -> str:
        """The version that the program prints."""
        return aomenc_version()

    def _command(self, clip: Clip) -> list[str]:
        screen = ["--tune-content=screen", "--enable-palette=1", "--enable-intrabc=1"]
        matrix = "identity" if self.pixel_format in RGB_FORMATS else "bt709"
        colour = ["--color-primaries=bt709", "--transfer-characteristics=bt709", f"--matrix-coefficients={matrix}"]
        keyframes = ["--kf-min-dist=0", f"--kf-max-dist={max(ONE_KEYFRAME, clip.frames)}", "--lag-in-frames=35"]
        sampling = f"--i{_CHROMA[self.pixel_format]}"
        rate = ["--lossless=1"] if self.level is None else ["--end-usage=q", f"--cq-level={self.level}"]
        effort = ["--passes=2", "--cpu-used=2", "--threads=1"]
        return [PROGRAM, "--quiet", "--ivf", sampling, *rate, *effort, *screen, *colour, *keyframes]

    def _write_y4m(self, clip: Clip, path: Path) -> None:
        planes = Planes(self.pixel_format, self.chroma)
        rate, kind = clip.rate, _CHROMA[self.pixel_format]
        with path.open("wb") as file:
            file.write(f"YUV4MPEG2 W{clip.width} H{clip.height} F{rate.numerator}:{rate.denominator} ".encode())
            file.write(f"Ip A1:1 C{kind}\n".encode())
            for rgb in clip.stream():
                frame = planes.to_frame(rgb)
                file.write(b"FRAME\n" + b"".join(map(_samples, frame.planes)))


def aomenc_installed() -> bool:
    """Whether the program is on the PATH."""
    return shutil.which(PROGRAM) is not None


@cache
def aomenc_version() -> str:
    """The line in which the program names itself; what it prints without arguments."""
    done = subprocess.run([PROGRAM, "--help"], capture_output=True, text=True, check=False)  # noqa: S603
    text = done.stdout + done.stderr
    return " ".join(line.strip() for line in text.splitlines() if "AOMedia" in line)


def _samples(plane: VideoPlane) -> bytes:
    """The samples of an 8-bit plane, row after row, without what pads the rows in memory."""
    rows = np.frombuffer(bytes(plane), np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width].tobytes()


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


@dataclass(frozen=True)
class DifferencesCodec:
    """A general compressor on each frame's RGB values minus those of the frame before, modulo 256.

    The `level` of xz is the extreme one of that number.
    """

    level: int = 19
    program: Literal["zstd", "xz"] = "zstd"

    def encode(self, clip: Clip) -> Encoded:
        compressor = self._compressor()
        last: Image = np.zeros((clip.height, clip.width, 3), np.uint8)
        parts: list[bytes] = []
        for rgb in clip.stream():
            parts.append(compressor.compress((rgb - last).tobytes()))
            last = rgb
        return Encoded([b"".join([*parts, compressor.flush()])])

    def decode(self, clip: Clip, packets: list[bytes]) -> Iterator[Image]:
        last: Image = np.zeros((clip.height, clip.width, 3), np.uint8)
        with self._reader(packets[0]) as reader:
            for _ in range(clip.frames):
                last = last + np.frombuffer(reader.read(last.size), np.uint8).reshape(last.shape)
                yield last

    def identity(self) -> str:
        """The version of zstd; that of xz is of no consequence."""
        return ".".join(map(str, zstandard.ZSTD_VERSION)) if self.program == "zstd" else "xz"

    def _compressor(self) -> _Compressor:
        if self.program == "xz":
            return lzma.LZMACompressor(preset=self.level | lzma.PRESET_EXTREME)
        return zstandard.ZstdCompressor(level=self.level).compressobj()

    def _reader(self, data: bytes) -> IO[bytes]:
        if self.program == "xz":
            return lzma.open(BytesIO(data))
        return zstandard.ZstdDecompressor().stream_reader(data)


@dataclass(frozen=True)
class WebpCodec:
    """Lossless animated WebP by libwebp, which merges frames that repeat; `effort` is 6 at most."""

    effort: int = 6

    def encode(self, clip: Clip) -> Encoded:
        """Code all frames; the one packet is the whole file."""
        first, *others = (Pillow.fromarray(rgb) for rgb in clip.pictures())
        file = BytesIO()
        first.save(
            file, "WEBP", save_all=True, append_images=others, lossless=True, quality=100, method=self.effort,
            duration=_WEBP_MILLISECONDS,
        )  # fmt: skip
        return Encoded([file.getvalue()])

    def decode(self, clip: Clip, packets: list[bytes]) -> Iterator[Image]:
        """The frames, exact; one that is shown longer stands for those that repeat it."""
        with Pillow.open(BytesIO(packets[0]), formats=("WEBP",)) as file:
            pictures = getattr(file, "n_frames", 1)
            for number in range(pictures):
                file.seek(number)
                rgb = np.asarray(file.convert("RGB"))
                shown = file.info["duration"] // _WEBP_MILLISECONDS if pictures > 1 else clip.frames
                yield from repeat(rgb, shown)

    def identity(self) -> str:
        """The version of libwebp."""
        return str(features.version("webp"))


_WEBP_MILLISECONDS = 40


@dataclass(frozen=True)
class PacCodec:
    """`pacodec.encode` with these options; `model` None lets the footage decide."""

    model: str | None
    quality: int | None
    quantizer: str | None = None
    device: str = "auto"

    def encode(self, clip: Clip) -> Encoded:
        """One packet, the file; `quality` None is lossless."""
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder, "clip.pac")
            report = pacodec.encode(
                str(clip.video),
                str(target),
                model=self.model,
                quality=self.quality,
                lossless=self.quality is None,
                quantizer=self.quantizer,
                device=self.device,
                jobs=1,
            )
            used = self.model or report.model
            notes = {
                "codec": " + ".join(filter(None, (report.transform, report.quantizer, *report.coders))),
                "model": report.model,
                "model_bytes": len(models.find(used).data) if used else 0,
                "gops": report.gops,
            }
            return Encoded([target.read_bytes()], notes)

    def decode(self, clip: Clip, packets: list[bytes]) -> Iterator[Image]:
        return _decode_file(packets[0], self.model, self.device)

    def identity(self) -> str:
        """The code, and the model or, where the footage decides, all that are installed."""
        return _code() + (_installed() if self.model is None else models.find(self.model).sha256.hex())


@dataclass(frozen=True)
class BaseLayerCodec:
    """The base layer alone: packets of AV1 or H.264 at a `quality` of the ladder, whatever code grids would take."""

    quality: int

    def encode(self, clip: Clip) -> Encoded:
        """One packet, the file; EstimateError where no encoder reaches that quality."""
        options = EncodeOptions(quality=self.quality, jobs=1)
        footage = replace(probe(str(clip.video)), packet_bytes=None)
        plans = decide(footage, options, lambda footage: Untried.HOPELESS).plans
        if not plans:
            raise EstimateError(f"no encoder of the base layer reaches quality {self.quality}")
        file = BytesIO()
        with VideoReader(str(clip.video)) as reader:
            report = BaseLayerPipeline(reader, str(clip.video), plans[0], options, file).run(iter(reader))
        return Encoded([file.getvalue()], {"codec": plans[0].coder, "gops": report.gops})

    def decode(self, clip: Clip, packets: list[bytes]) -> Iterator[Image]:
        return _decode_file(packets[0])

    def identity(self) -> str:
        """The code, and PyAV's version, which says those of the encoders."""
        return f"{_code()} {av.__version__}"


def _decode_file(data: bytes, model: str | None = None, device: str = "auto") -> Iterator[Image]:
    """The frames of a .pac file."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "clip.pac")
        source.write_bytes(data)
        with pacodec.open(source, model=model, device=device) as video:
            for batch in video.batches():
                yield from batch


@cache
def _code() -> str:
    """A hash of the package's sources but for what only asks and reports."""
    root = Path(pacodec.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        if path.relative_to(root).parts[0] not in ("cli", "evaluation"):
            digest.update(path.read_bytes())
    return digest.hexdigest()


@cache
def _installed() -> str:
    digest = hashlib.sha256()
    for path in models.paths():
        digest.update(path.read_bytes())
    return digest.hexdigest()
