"""What recipes of test vectors work with: footage, models, and the encoder behind its public interface."""

import io
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import clips
import numpy as np
import predictive
from conftest import make_video, screen
from numpy.typing import NDArray

import pacodec
import pacodec.models
from pacodec.container import Gop, Header, Reader, Writer
from pacodec.media import AudioPacket

LOSSLESS_CLIP: Mapping[str, Any] = {"codec": "libx264rgb", "pixel_format": "rgb24", "options": {"qp": "0"}}
Pictures = Sequence[NDArray[np.uint8]]
WIDTH, HEIGHT = 32, 24
ORDER = (0, 1, 2, 2, 3, 4, 5, 5, 5, 6, 7, 8)
"""Numbers of pictures, some of which repeat."""


def flat(order: Sequence[int] = ORDER, width: int = WIDTH, height: int = HEIGHT) -> Pictures:
    """Pictures of 24 colours."""
    return [screen(number, width, height) for number in order]


def smooth(order: Sequence[int] = ORDER, width: int = WIDTH, height: int = HEIGHT) -> Pictures:
    """Pictures of some hundred colours."""
    return [clips.picture(number, width, height) for number in order]


@dataclass(frozen=True)
class Workshop:
    """A folder for work in progress, in which `models` holds the vectors' models unpacked."""

    folder: Path

    @property
    def models(self) -> Path:
        """Where models lie under their names."""
        return self.folder / "models"

    def model(self, name: str) -> Path:
        """The file of a model."""
        return self.models / f"{name}{pacodec.weights.SUFFIX}"

    def clip(self, pictures: Pictures, rate: int = 25) -> Path:
        """A lossless video of pictures."""
        return make_video(self.folder / "clip.mkv", pictures, rate)

    def encode(self, source: Pictures | Path, *, foresee: bool = False, **options: Any) -> bytes:
        """A .pac file of pictures or of a video. With `foresee`, the model's network codes also what it does badly."""
        path = source if isinstance(source, Path) else self.clip(source)
        target = self.folder / "made.pac"
        options = {"gop_seconds": 0.2, "device": "cpu", "jobs": 1, "overwrite": True, **options}
        if isinstance(options.get("model"), str):
            options["model"] = str(self.model(options["model"]))
        empty = self.folder / "none"
        with (
            predictive.network_alone() if foresee else nullcontext(),
            mock.patch.dict("os.environ", {pacodec.models.MODEL_FOLDER_VARIABLE: str(empty)}),
            mock.patch.object(pacodec.models, "shipped_folder", return_value=empty),
        ):
            pacodec.encode(str(path), str(target), **options)
        return target.read_bytes()

    def encode_pipe(self, pictures: Pictures, *arguments: str) -> bytes:
        """A .pac file of a video that comes and goes through pipes."""
        program = [sys.executable, "-c", "from pacodec.cli import main; main()", "encode", "-", "-", *arguments]
        environment = {"PATH": "", pacodec.models.MODEL_FOLDER_VARIABLE: str(self.folder / "none")}
        done = subprocess.run(
            program, input=self.clip(pictures).read_bytes(), capture_output=True, check=True, env=environment
        )
        return done.stdout


@dataclass(frozen=True)
class Recipe:
    """How to make one file, and a line that says what is special about it."""

    about: str
    make: Callable[[Workshop], bytes]
    damaged: bool = False
    """Whether readers report damage, while they give out what is intact."""


@dataclass(frozen=True)
class Contents:
    """What a file holds, to be changed and written again."""

    header: Header
    gops: Sequence[Gop]
    packets: Sequence[AudioPacket]
    model: bytes | None

    @classmethod
    def of(cls, data: bytes) -> "Contents":
        """Of a good file."""
        with Reader(io.BytesIO(data)) as reader:
            gops = [reader.gop(number) for number in range(len(reader.gops))]
            return cls(reader.header, gops, list(reader.audio()), reader.model_bytes())

    def write(self) -> bytes:
        """The bytes of a file."""
        file = io.BytesIO()
        writer = Writer(file, self.header, self.model)
        for gop in self.gops:
            writer.add_gop(gop)
        writer.add_audio(self.packets)
        writer.close()
        return file.getvalue()
