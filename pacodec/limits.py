"""Every bound that untrusted input is held to. A declared size is checked here before memory is taken for it."""

from pacodec.errors import LimitError

MIB, GIB = 1 << 20, 1 << 30

MAX_SIDE = 16_384
"""Pixels of a picture's width or height."""
MAX_PIXELS = 1 << 26
"""Pixels of one picture (8192 x 8192)."""
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
MAX_AUDIO_BYTES = 64 * MIB
"""The payload of one chunk of audio packets."""
MAX_INDEX_BYTES = 256 * MIB
"""The payload of the index chunk."""
MAX_MODEL_BYTES = 1 * GIB
"""A model file, or the model that a .pac carries."""
MAX_MODEL_HEADER_BYTES = 1 * MIB
"""The safetensors header of a model file."""
MAX_SCREENS_BYTES = 256 * MIB
"""The screens that a predictive model knows, as codes."""
MAX_AUDIO_STREAMS = 32
"""Audio tracks carried beside the video."""


def check(name: str, value: int, most: int, *, least: int = 0) -> int:
    """Return `value` when least <= value <= most; raise LimitError naming the field otherwise."""
    if not least <= value <= most:
        raise LimitError(f"{name} is {value}, allowed are {least} to {most}")
    return value
