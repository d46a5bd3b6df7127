"""What is fuzzed: functions of bytes that may raise nothing but the project's own exceptions.

Importing this module imports pacodec, so that a fuzzer can instrument it.
"""

import io
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import islice

import numpy as np
import zstandard
from independent.engine import Engine

from pacodec import container
from pacodec.autoencoders.neural import NeuralTransform
from pacodec.base_layer.stream import pack, sequence_header, unpack, unpack_obus
from pacodec.common.media import Frame, GridSpec
from pacodec.container import Reader, StreamReader
from pacodec.decoder import Decoder
from pacodec.engine import DifferencesDecoder, GridDecoder, SegmentDecoder, SegmentEncoder, State, replay
from pacodec.errors import ModelError, PacodecError
from pacodec.integrations.array_bytes import from_bytes
from pacodec.models.files import ModelFile
from pacodec.models.recording import model_colours, model_recording
from pacodec.transforms.postfilter import PostFilter
from pacodec.transforms.two_level_palette import TwoLevelPalette
from pacodec.video.reader import VideoReader

MAX_PIXELS = 1 << 14
"""Of a picture that is decoded: larger ones are another kind of attack, which costs time and finds nothing."""
MAX_FRAMES = 64
GRID_BYTES = 5
"""Of an input of `coders`: coder and nature of the codes, channels, height, width, grids; of `differential` as well."""
MAX_COMPARED = 20
"""Codes of a segment that the plain decoder, which takes its time, is given at once."""
MAX_EVENTS = 24
"""Frames and packets that are read of a video."""


def container_of(data: bytes) -> None:
    """Parse a .pac file in both ways, everything in it, without decoding codes."""
    with suppress(PacodecError), Reader(data) as reader:
        container.verify(reader)
        list(reader.audio())
        reader.model_bytes()
        for number in range(len(reader.gops)):
            reader.gop(number)
    with suppress(PacodecError):
        for _ in StreamReader(io.BytesIO(data)):
            pass


def coders(data: bytes) -> None:
    """Decode the payload of one GOP; the first bytes say by which coder and in what shape."""
    if len(data) < GRID_BYTES:
        return
    kind, channels, height, width, grids = data[:GRID_BYTES]
    spec = GridSpec(1 + channels % 5, 1 + height % 40, 1 + width % 40, ordinal=bool(kind & 1))
    payload = data[GRID_BYTES:]
    with suppress(PacodecError):
        decoder: GridDecoder
        decoder = SegmentDecoder(State.fresh(spec), payload) if kind & 2 else DifferencesDecoder(spec, payload)
        for _ in range(1 + grids % 6):
            assert decoder.pull(1).shape == (1, spec.channels, spec.height, spec.width)
        decoder.finish()


def decode(data: bytes) -> None:
    """Decode a .pac file to pictures, at random and in order; a model is the one it carries."""
    with suppress(PacodecError):
        with Reader(data) as reader:
            video, grid = reader.header.video, reader.header.grid
            if max(video.width * video.height, grid.size // 4) > MAX_PIXELS or reader.frames > MAX_FRAMES:
                return
        with opened(data) as decoder:
            shape = (video.height, video.width, 3)
            if len(decoder):
                assert decoder[-1].shape == shape
                decoder.codes(0)
            for batch in decoder.batches():
                assert batch.shape[1:] == shape
            list(decoder.frames_between(0.1, 0.3))


def model(data: bytes) -> None:
    """Load a model file as whatever it says it is, and use it."""
    try:
        found = ModelFile.parse(data, "fuzzed", "fuzzed.pacmodel")
    except PacodecError:
        return
    for use in (_replay, _colour, _synthesise):
        with suppress(PacodecError):
            use(found)


def postfilter(data: bytes) -> None:
    """Load the post-filter of a model, also what is behind its compression, and use it."""
    codes = np.arange(2 * 35, dtype=np.uint8).reshape(2, 1, 5, 7)
    pictures = np.repeat(codes[:, 0, :, :, None], 3, -1)
    for stored in (data, zstandard.ZstdCompressor(1).compress(data)):
        with suppress(PacodecError):
            found = PostFilter.from_bytes(stored, (5, 7))
            filtered = found.filter(codes, pictures)
            again = PostFilter.from_bytes(found.to_bytes(), (5, 7))
            assert np.array_equal(again.filter(codes, pictures), filtered)


def arrays(data: bytes) -> None:
    """Decode a .pac file as the chunk of an array."""
    with suppress(PacodecError):
        with Reader(data) as reader:
            video = reader.header.video
            if video.width * video.height > MAX_PIXELS or reader.frames > MAX_FRAMES:
                return
        assert from_bytes(data).dtype == np.uint8


def packets(data: bytes) -> None:
    """Take apart the packets of a standard codec: those of any, and the OBUs of AV1."""
    with suppress(PacodecError):
        found = unpack(data)
        assert unpack(pack(found)) == found
    with suppress(PacodecError):
        units = unpack_obus(data)
        assert b"".join(unit.data for unit in units) == data
        for unit in units:
            sequence_header(unit.data)


def video(data: bytes) -> None:
    """Read a video or an animated image of any kind."""
    with suppress(PacodecError), VideoReader(io.BytesIO(data)) as reader:
        shape = (reader.format.height, reader.format.width, 3)
        for event in islice(reader, MAX_EVENTS):
            if isinstance(event, Frame):
                assert event.rgb.shape == shape
        assert all(isinstance(line, str) for line in reader.warnings)


def differential(data: bytes) -> None:
    """Grids come back from the engine, and from a decoder that was written by FORMAT.md alone."""
    if len(data) < GRID_BYTES:
        return
    kind, channels, height, width, grids = data[:GRID_BYTES]
    spec = GridSpec(1 + channels % 4, 1 + height % 10, 1 + width % 18, ordinal=bool(kind & 1))
    frames = max(1, min(1 + grids % 4, MAX_COMPARED // spec.size))
    codes = np.resize(np.frombuffer(data[GRID_BYTES:] or b"\0", np.uint8), (2, frames, *_shape(spec)))
    state, known, independent = State.fresh(spec), State.fresh(spec), Engine(spec.ordinal, *_shape(spec))
    for part in codes:
        encoder = SegmentEncoder(state)
        encoder.push(part)
        payload = encoder.finish()
        decoder = SegmentDecoder(known, payload)
        assert np.array_equal(decoder.pull(frames), part)
        decoder.finish()
        assert np.array_equal(independent.segment(payload, frames), part)


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "container": container_of,
    "coders": coders,
    "decode": decode,
    "model": model,
    "postfilter": postfilter,
    "arrays": arrays,
    "packets": packets,
    "video": video,
    "differential": differential,
}


def _shape(spec: GridSpec) -> tuple[int, int, int]:
    return spec.channels, spec.height, spec.width


def _replay(found: ModelFile) -> None:
    recording = model_recording(found)
    if recording is not None and recording.spec.size <= MAX_PIXELS:
        frames = sum(segment.frames for segment in recording.segments)
        if frames <= MAX_FRAMES:
            replay(recording, State.fresh(recording.spec))


def _colour(found: ModelFile) -> None:
    TwoLevelPalette.from_parameters(model_colours(found))


def _synthesise(found: ModelFile) -> None:
    network = NeuralTransform(found, "cpu")
    latents = np.full((1, *network.grid(16, 24)), 0.5, np.float32)
    assert network.synthesise(latents, 16, 24).shape == (1, 16, 24, 3)


_DESCRIPTOR = os.memfd_create("fuzzed")


def _file(data: bytes) -> int:
    """A descriptor of a file in memory with these bytes."""
    os.ftruncate(_DESCRIPTOR, 0)
    os.pwrite(_DESCRIPTOR, data, 0)
    return _DESCRIPTOR


def only_embedded(sha256: bytes, name: str, extra: str | None = None) -> ModelFile:
    """In place of `models.find_by_hash`: what is found must not depend on the machine."""
    raise ModelError(f"{name}: no model but what the file carries")


def opened(data: bytes) -> Decoder:
    """The file of these bytes, until the next one is opened."""
    return Decoder(f"/proc/self/fd/{_file(data)}", device="cpu")
