"""`pacodec train`: recordings in, a model file out, with what it reaches on recordings it has not seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from pacodec.common.files import check_target, write_whole
from pacodec.errors import UsageError
from pacodec.models.files import SUFFIX
from pacodec.models.recording import RECORDING
from pacodec.training.record import train_recording
from pacodec.training.request import CHECKPOINT_SUFFIX, CurvePoint, Report, Request

DEFAULT_MINUTES = 15.0
"""Of an autoencoder."""


@dataclass(frozen=True)
class TrainReport:
    """What a training run reached on its held-out part: PSNR in dB of what its codes decode to."""

    arch: str
    steps: int
    seconds: float
    psnr: float
    psnr_low: float
    """5th percentile of frames; of a recording, the worst clip."""
    test_frames: int
    split: str
    code_values: int
    """Codes a frame, at the training size."""
    model_bytes: int
    bits: Mapping[str, float] = field(default_factory=dict)
    """Bits a frame of held-out frames, by method: the model's, and others for comparison; none of an autoencoder."""
    curve: Sequence[CurvePoint] = ()
    """Of a recording: what it gains with more segments, on the part that those were chosen by."""


def train(
    clips: Sequence[str],
    target: str,
    *,
    arch: str = RECORDING,
    minutes: float | None = None,
    steps: int | None = None,
    size: tuple[int, int] | None = None,
    rank: int | None = None,
    validation: Sequence[str] = (),
    test: Sequence[str] = (),
    seed: int = 0,
    device: str = "auto",
    overwrite: bool = False,
    report: Report = lambda message: None,
) -> TrainReport:
    """Make a model file `target` of `clips`.

    `recording`, the default, learns a palette and keeps the part of the footage that helps most to foresee the rest; of
    noisy footage it learns a post-filter too. The study's autoencoders learn pictures. The last tenth of the clips is
    held out for the final report and the tenth before that for validation, unless `validation` and `test` name others;
    of three to nine clips the last one serves for both, half and half, and one or two give the last fifth of their
    frames. `size` is (width, height), by default the first clip's, or 160 x 200 for the fixed-size networks. Networks
    are trained for about `minutes` (15), or for `steps` exactly, and end early when validation does not improve. Their
    checkpoint lies beside `target` until the run is complete; the same call goes on from there to the same result.
    `rank` factorises linear layers, 0 does not.

    Raises UsageError, UnsupportedError (unknown architecture), FileAccessError, CorruptFileError (clips).
    """
    if Path(target).suffix != SUFFIX:
        raise UsageError(f"{target}: the name of a model file ends in {SUFFIX}")
    check_target(target, overwrite=overwrite, sources=tuple(clips))
    if not clips:
        raise UsageError("no clips to train on")
    if arch == RECORDING and rank is not None:
        raise UsageError(f"a {RECORDING} has no linear layers, so no rank")
    if arch == RECORDING and (minutes is not None or steps is not None):
        raise UsageError(f"a {RECORDING} trains no network: neither minutes nor steps are its own to choose")
    request = Request(
        clips=clips,
        minutes=DEFAULT_MINUTES if minutes is None else minutes,
        steps=steps,
        size=size,
        validation=validation,
        test=test,
        seed=seed,
        device=device,
        checkpoint=Path(target + CHECKPOINT_SUFFIX),
        report=report,
        began=monotonic(),
    )
    if arch == RECORDING:
        trained = train_recording(request)
    else:
        from pacodec.training.autoencoder import train_autoencoder

        trained = train_autoencoder(request, arch, rank)
    write_whole(target, trained.data)
    request.checkpoint.unlink(missing_ok=True)
    return TrainReport(
        arch=arch,
        steps=trained.steps,
        seconds=monotonic() - request.began,
        psnr=trained.psnr,
        psnr_low=trained.psnr_low,
        test_frames=trained.test_frames,
        split=trained.split,
        code_values=trained.code_values,
        model_bytes=len(trained.data),
        bits=trained.bits,
        curve=trained.curve,
    )
