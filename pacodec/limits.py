"""Every bound that untrusted input is held to. A declared size is checked here before memory is taken for it."""

import os

from pacodec.errors import LimitError, UsageError

MIB, GIB = 1 << 20, 1 << 30

MAX_SIDE = 16_384
"""Pixels of a picture's width or height."""
MAX_PIXELS = 1 << 26
"""Pixels of one picture (8192 x 8192)."""
MAX_DIMENSIONS = 8
"""Axes of the arrays that pictures stand for."""
MAX_FRAMES = 100_000_000
"""Frames of one file: 38 days at 30 frames/s."""
MAX_GOP_FRAMES = 1 << 16
"""Frames of one GOP."""
MAX_CODES_PER_FRAME = 1 << 28
"""uint8 codes of one frame's grid."""
MAX_HEADER_BYTES = 1 * MIB
"""The msgpack header of a .pac file."""
MAX_GOP_BYTES = 1 * GIB
"""The payload of one GOP chunk."""
MAX_AUDIO_BYTES = 16 * MIB
"""The payload of one chunk of audio packets."""
MAX_INDEX_BYTES = 256 * MIB
"""The payload of the index chunk."""
MAX_MODEL_BYTES = 1 * GIB
"""A model file, or the model that a .pac carries."""
MAX_MODEL_HEADER_BYTES = 1 * MIB
"""The safetensors header of a model file."""
MAX_REFERENCE_BYTES = 64 * MIB
"""The coded reference that a model or a file brings, which is replayed before anything is decoded."""
MAX_REFERENCE_SEGMENTS = 1 << 12
"""Segments of a reference."""
MAX_REFERENCE_FRAMES = 1 << 16
"""Frames of all segments of a reference."""
MAX_CHUNK_BYTES = 2 * GIB
"""The RGB pictures of one chunk of an array."""
MAX_IMAGE_BYTES = 1 * GIB
"""An animated image file that is decoded from memory."""
MAX_AUDIO_STREAMS = 32
"""Audio tracks carried beside the video."""

MAX_MEMORY = 272 * MIB
"""What decoding one GOP may take, as far as declared sizes decide it; a few bytes can declare the largest picture."""
MEMORY_VARIABLE = "PACODEC_MEMORY"
"""Environment variable that sets another bound in its place, in MiB, for those who trust their files."""

MAX_VIDEO_PIXELS = 1 << 42
"""Pixels of all frames of one file, repeats included: 19 hours of 1920x1080 at 30 frames/s."""
MAX_CODED_PIXELS = 1 << 36
"""Pixels of the frames of a small file that do not repeat the one before: four hours of a blinking cursor in a screen
of 1920x1080. A repeat costs a reader nearly nothing, any other frame some 10 ns a pixel even where little changes."""
CODED_PIXELS_PER_BYTE = 1 << 21
"""What each byte of a file adds to that: a changed frame of 1920x1080 takes an encoder at least a byte or so."""
PIXELS_VARIABLE = "PACODEC_PIXELS"
"""Environment variable that sets another bound in place of these, in millions of pixels."""


def _chosen(variable: str, unit: int, name: str, usual: int) -> int:
    """The bound in an environment variable, in so many units, or the usual one; UsageError where it is no number."""
    text = os.environ.get(variable, "")
    if text and not (text.isascii() and text.isdigit()):
        raise UsageError(f"{variable} is {text!r}, not a number of {name}")
    return int(text) * unit if text else usual


def memory() -> int:
    """Bytes that decoding one GOP may take: `MAX_MEMORY`, or what the environment says instead (else UsageError)."""
    return _chosen(MEMORY_VARIABLE, MIB, "MiB", MAX_MEMORY)


def check_pixels(frames: int, width: int, height: int) -> None:
    """Raise LimitError where a file declares more pixels than may be decoded of one: time grows with them."""
    _check_pixels(frames, f"frames of {width}x{height}", width * height, MAX_VIDEO_PIXELS, "of one file")


def check_coded_pixels(frames: int, pixels: int, size: int) -> None:
    """Raise LimitError where a file of `size` bytes declares more coded frames than a real one of that size has.

    `pixels`: of each, or its codes where these are more.
    """
    most = MAX_CODED_PIXELS + CODED_PIXELS_PER_BYTE * size
    _check_pixels(frames, f"coded frames of {pixels} pixels", pixels, most, f"of a file of {size} bytes")


def _check_pixels(frames: int, what: str, pixels: int, usual: int, source: str) -> None:
    most = _chosen(PIXELS_VARIABLE, 10**6, "millions of pixels", usual)
    if frames * pixels > most:
        raise LimitError(
            f"{frames} {what} are more than the {most / 10**6:.0f} million pixels that are decoded {source}; "
            f"set {PIXELS_VARIABLE} to allow more"
        )


def check_memory(what: str, need: int) -> None:
    """Raise LimitError where what is about to be done takes more than `memory()`."""
    if need > memory():
        raise LimitError(
            f"{what} takes {-(-need // MIB)} MiB of memory, allowed are {memory() // MIB}; "
            f"set {MEMORY_VARIABLE} to allow more"
        )


def affordable(jobs: int, need: int) -> int:
    """How many of `jobs` GOPs may be decoded at once where each takes `need` bytes, at least 1.

    Each has half of `memory()`, so that only large pictures cost threads.
    """
    return max(1, min(jobs, memory() // 2 * max(jobs, 2) // max(need, 1)))


def check(name: str, value: int, most: int, *, least: int = 0) -> int:
    """Return `value` when least <= value <= most; raise LimitError naming the field otherwise."""
    if not least <= value <= most:
        raise LimitError(f"{name} is {value}, allowed are {least} to {most}")
    return value
