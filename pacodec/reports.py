"""What `encode` tells while it works and when it is done, whatever it stores the footage as."""

from collections.abc import Callable
from dataclasses import dataclass, field

ProgressCallback = Callable[[int, int | None], None]
"""Takes the frames done and the frames expected, None where that is not known."""


@dataclass(frozen=True)
class EncodeReport:
    """What `encode` did. Sizes in bytes, times in seconds, PSNR in dB (RGB, error pooled over `psnr_frames` frames, of
    which those that repeat count, too).

    `coders` tells how many GOPs each coder made, `psnr_low` is the PSNR of the worst frame, `seconds` do not count
    looking at the footage and choosing.
    """

    frames: int
    repeats: int
    width: int
    height: int
    duration: float
    transform: str
    quantizer: str
    coders: dict[str, int]
    model: str | None
    reason: str
    gops: int
    bytes: int
    raw_bytes: int
    source_bytes: int | None
    exact: bool
    psnr: float
    psnr_low: float
    psnr_frames: int
    seconds: float
    warnings: list[str] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """Raw RGB bytes over bytes of the file."""
        return self.raw_bytes / self.bytes
