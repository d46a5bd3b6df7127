"""What `encode` can be asked for, whatever asks: the command line, Python, the study, `eval`."""

import math
from dataclasses import dataclass
from fractions import Fraction

from pacodec.errors import UsageError

QUALITIES = (1, 2, 3, 4, 5)
EFFORTS = (1, 2, 3)
DEFAULT_EFFORT = 2
CODERS = ("engine", "none")
_LOWEST_RATE, _HIGHEST_RATE, _RATE_DENOMINATOR = 1e-3, 1e5, 100_000
"""Frames/s of a sequence of pictures, and the largest denominator of that fraction."""
QUANTIZER_NAMES = ("none", "naive", "scale", "kmeans")


@dataclass(frozen=True)
class EncodeOptions:
    """None is free choice. Raises UsageError for values out of their range or that contradict each other."""

    model: str | None = None
    """Name of an installed model, or a model file; without one the footage decides."""
    quality: int | None = None
    """1 (smallest) to 5 (best)."""
    lossless: bool = False
    """Keep every 8-bit RGB value."""
    quantizer: str | None = None
    """Of an autoencoder's latents."""
    coder: str | None = None
    """What makes bytes of code grids: `engine`, or `none`, the floor; by default the smaller one for each GOP."""
    min_psnr: float | None = None
    """dB (RGB, pooled over all frames): a higher quality is used where needed."""
    effort: int = DEFAULT_EFFORT
    """1 reads the footage once; 2 lets GOPs learn from others; 3 tries several ways to choose cheaper codes."""
    fps: float | None = None
    """Frames/s of a sequence of pictures, which has no times of its own; by default 25."""
    gop_seconds: float | None = None
    """Upper bound of the length of a GOP, beside what may have to be decoded to reach a frame."""
    audio: bool = True
    """Carry the audio tracks."""
    embed_model: bool = False
    """Put the model into the file."""
    verify: bool = False
    """Decode all codes again before the file is put in its place."""
    device: str = "auto"
    """Where networks run: auto, cpu or cuda."""
    jobs: int | None = None
    """GOPs coded at once; by default one a core."""

    def __post_init__(self) -> None:
        _check_choice("quality", self.quality, QUALITIES)
        _check_choice("effort", self.effort, EFFORTS)
        _check_choice("coder", self.coder, CODERS)
        _check_choice("quantizer", self.quantizer, QUANTIZER_NAMES)
        if self.lossless and (self.quality or self.quantizer):
            raise UsageError("lossless coding takes no quality or quantizer")
        if self.fps is not None and not _LOWEST_RATE <= self.fps <= _HIGHEST_RATE:
            raise UsageError(f"{self.fps:g} frames/s are not possible, but {_LOWEST_RATE:g} to {_HIGHEST_RATE:g} are")
        if self.gop_seconds is not None and not (math.isfinite(self.gop_seconds) and self.gop_seconds > 0):
            raise UsageError(f"a GOP of {self.gop_seconds:g} seconds is not possible")

    @property
    def frame_rate(self) -> Fraction | None:
        """Of a sequence of pictures, as an exact fraction of small numbers."""
        return None if self.fps is None else Fraction(self.fps).limit_denominator(_RATE_DENOMINATOR)


def _check_choice(name: str, value: object, known: tuple[object, ...]) -> None:
    if value is not None and value not in known:
        raise UsageError(f"unknown {name} {value!r}; known are {', '.join(map(str, known))}")
