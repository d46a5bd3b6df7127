"""Files made from code grids themselves, for what no picture leads the encoder to."""

import io
import zlib
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import predictive
from numpy.typing import NDArray

from pacodec.container import Component, Gop, Header, ModelRef, Writer
from pacodec.grids import GridSpec
from pacodec.media import AudioPacket, VideoFormat
from pacodec.predictors import get_predictor
from pacodec.weights import ModelFile

FORMAT = VideoFormat(32, 24, Fraction(1, 1000), Fraction(25))
TICKS = 40
"""Of a frame."""
GREYS = bytes(value for grey in range(0, 256, 2) for value in (grey, grey, 255 - grey))
"""A palette of 128 colours."""


def authored(
    gops: Sequence[NDArray[np.uint8]],
    *,
    predictor: str = "adaptive",
    transform: str = "palette",
    parameters: Mapping[str, Any] | None = None,
    quantizer: str = "palette",
    quantizer_parameters: Mapping[str, Any] | None = None,
    model: Path | None = None,
    ordinal: bool = False,
    video: VideoFormat | None = None,
    times: Sequence[Sequence[int]] | None = None,
    packets: Sequence[AudioPacket] = (),
    foresee: bool = False,
) -> bytes:
    """A file of GOPs, each uint8 [n, C, h, w], with audio packets before them and times [n + 1] a GOP."""
    channels, height, width = gops[0].shape[1:] if gops else (1, 24, 32)
    format = video or VideoFormat(width, height, FORMAT.time_base, FORMAT.frame_rate)
    found = ModelFile.read(model) if model else None
    values = {"palette": GREYS, "correction_step": 0} if parameters is None else parameters
    header = Header(
        writer="pacodec's test vectors",
        video=format,
        grid=GridSpec(channels, height, width, ordinal),
        transform=Component(transform, values),
        quantizer=Component(quantizer, quantizer_parameters or {}),
        predictor=Component(predictor),
        model=ModelRef(found.name, found.sha256) if found else None,
    )
    file = io.BytesIO()
    writer = Writer(file, header)
    writer.add_audio(packets)
    done = 0
    for number, codes in enumerate(gops):
        encoder = get_predictor(predictor, found).encoder(header.grid)
        with predictive.network_alone() if foresee else nullcontext():
            encoder.push(codes)
            payload = encoder.finish()
        pts = times[number] if times else TICKS * np.arange(done, done + len(codes) + 1)
        repeats = np.zeros(len(codes), np.bool_)
        writer.add_gop(Gop(done, np.array(pts, np.int64), repeats, zlib.crc32(codes.tobytes()), payload))
        done += len(codes)
    writer.close()
    return file.getvalue()
