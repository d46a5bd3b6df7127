"""libaom's own program, the one AV1 encoder with 4:4:4 and all screen tools; PyAV's wheels lack it."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import av
import numpy as np
from av.video.plane import VideoPlane

from pacodec.common.media import Image
from pacodec.errors import UsageError
from pacodec.evaluation.clips import Clip
from pacodec.evaluation.codecs import Encoded
from pacodec.evaluation.ffmpeg import ONE_KEYFRAME, decode_packets
from pacodec.evaluation.planes import RGB_FORMATS, Chroma, Planes

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
        return decode_packets("libdav1d", Planes(self.pixel_format, self.chroma), packets)

    def identity(self) -> str:
        """What the program calls itself."""
        return version()

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


def installed() -> bool:
    """Whether the program is on the PATH."""
    return shutil.which(PROGRAM) is not None


@cache
def version() -> str:
    """The line in which the program names itself; what it prints without arguments."""
    done = subprocess.run([PROGRAM, "--help"], capture_output=True, text=True, check=False)  # noqa: S603
    text = done.stdout + done.stderr
    return " ".join(line.strip() for line in text.splitlines() if "AOMedia" in line)


def _samples(plane: VideoPlane) -> bytes:
    """The samples of an 8-bit plane, row after row, without what pads the rows in memory."""
    rows = np.frombuffer(bytes(plane), np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width].tobytes()
