"""What a training run is asked for and what it yields, whatever the architecture."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

CHECKPOINT_SUFFIX = ".checkpoint"
"""What the name of a model file is followed by for the state of a network that is still trained."""


@dataclass(frozen=True)
class TrainingProgress:
    """How far the training of a network is."""

    step: int
    steps: int
    loss: float
    score: float
    """On the validation frames, in `unit`."""
    unit: str
    seconds: float
    seconds_left: float


Report = Callable[[str | TrainingProgress], None]
"""Takes a line for people, or the progress of a network's training."""


@dataclass(frozen=True)
class Request:
    """What to train on and for how long; `pacodec.training.train` says what each of these means."""

    clips: Sequence[str]
    minutes: float
    steps: int | None
    size: tuple[int, int] | None
    validation: Sequence[str]
    test: Sequence[str]
    seed: int
    device: str
    checkpoint: Path
    report: Report
    began: float
    """Of `time.monotonic`."""


@dataclass(frozen=True)
class Trained:
    """A model file and what it reaches on the held-out frames."""

    data: bytes = field(repr=False)
    steps: int
    psnr: float
    psnr_low: float
    test_frames: int
    split: str
    code_values: int
    bits: Mapping[str, float] = field(default_factory=dict)
    """Bits a frame of the same held-out frames, by method; empty of an autoencoder, which foresees nothing."""
    curve: Sequence["CurvePoint"] = ()


@dataclass(frozen=True)
class CurvePoint:
    """What a recording of so many segments gains on the held-out part that it was chosen by."""

    segments: int
    bytes: int
    """Of the reference."""
    replay_seconds: float
    bits_per_frame: float
