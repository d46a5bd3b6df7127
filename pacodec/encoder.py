"""A video to a .pac file: what is asked, what the footage allows, and a file that is whole or not there."""

import hashlib
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

from pacodec.ahead import cores
from pacodec.choose import SAMPLE_FRAMES, Choice, Wishes, choose
from pacodec.container import Reader
from pacodec.errors import CorruptFileError, QualityError, UsageError
from pacodec.files import check_pac_target, check_target, fingerprint, replacing, writing
from pacodec.media import AudioPacket, Frame, Image
from pacodec.metadata import WRITER
from pacodec.naming import STANDARD_STREAM
from pacodec.pipeline import Coding, EncodeReport, Pipeline
from pacodec.predictors.base import Predictor
from pacodec.thrift import DEFAULT_EFFORT, EFFORTS
from pacodec.unfinished import PART_SUFFIX, Unfinished, unfinished
from pacodec.verification import verify_codes
from pacodec.video.reader import VideoReader
from pacodec.video.sample import sample_frames
from pacodec.weights import ModelFile

GOP_SECONDS = 10.0
STREAM_HEAD = 2 * SAMPLE_FRAMES
"""Frames held back at the start of a pipe, which cannot be sampled all over."""


def encode(
    source: str,
    target: str,
    *,
    model: str | None = None,
    quality: int | None = None,
    lossless: bool = False,
    quantizer: str | None = None,
    predictor: str | None = None,
    min_psnr: float | None = None,
    effort: int = DEFAULT_EFFORT,
    gop_seconds: float = GOP_SECONDS,
    audio: bool = True,
    embed_model: bool = False,
    verify: bool = False,
    device: str = "auto",
    jobs: int | None = None,
    overwrite: bool = False,
    resume: bool = False,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> EncodeReport:
    """Encode the video `source` into the .pac file `target`; `-` is standard input or output.

    `target` appears when it is complete, or not at all. With `resume`, a run that ends early keeps what it has done in
    `target` + ".part", and the same call goes on from there, to the bytes of an unbroken run. `model` names an
    installed model or a file; without one the footage decides (see `choose`). `predictor` is by default the model's
    own, where it has one, else `adaptive`. `quality` is 1 (smallest) to 5 (best); with `min_psnr` (dB) a higher one is
    used where needed, and every frame is measured. `effort`, 1 (fast) to 3, is how widely a predictive model's lower
    qualities search for cheaper codes. A GOP is what a reader must decode to reach a frame. `jobs` GOPs are
    coded at once, by default one a core. `progress` is called with frames done and frames expected.

    Raises the exceptions of `pacodec.errors`: FileAccessError, UsageError, CorruptFileError (the source is no video),
    ModelError, LimitError, QualityError (`min_psnr` not reached).
    """
    if not (math.isfinite(gop_seconds) and gop_seconds > 0):
        raise UsageError(f"a GOP of {gop_seconds:g} seconds is not possible")
    if resume and STANDARD_STREAM in (source, target):
        raise UsageError("a pipe cannot be gone on with; leave --resume out")
    if verify and target == STANDARD_STREAM:
        raise UsageError("what went to standard output cannot be verified; leave --verify out")
    if effort not in EFFORTS:
        raise UsageError(f"effort is {effort}, allowed are {EFFORTS[0]} to {EFFORTS[-1]}")
    wishes = Wishes(model, quality, lossless, quantizer, min_psnr, device)
    check_target(target, overwrite=overwrite, sources=(source,))
    check_pac_target(target)
    coding = Coding(predictor, gop_seconds, audio, embed_model, verify, jobs or cores(), progress, min_psnr, effort)
    if source == STANDARD_STREAM:
        with VideoReader(sys.stdin.buffer) as reader:
            return _encode_stream(reader, target, wishes, coding)
    sample = sample_frames(source, SAMPLE_FRAMES)
    choices = choose(sample, wishes)
    if not resume:
        return _encode_file(source, target, choices, coding)
    with unfinished(target, _identity(source, wishes, coding)) as kept:
        return _encode_file(source, target, choices, coding, kept)


def _encode_file(
    source: str, target: str, choices: Sequence[Choice], coding: Coding, kept: Unfinished | None = None
) -> EncodeReport:
    for number in range(kept.choice if kept else 0, len(choices)):
        if kept is not None:
            kept.begin(number)
        try:
            with VideoReader(source) as reader:
                return _write(reader, iter(reader), target, choices[number], coding, kept)
        except QualityError:  # the sample promised more than the whole clip kept
            if target == STANDARD_STREAM or number == len(choices) - 1:
                raise  # what is written to a stream cannot be taken back
    raise UsageError(f"{target}{PART_SUFFIX}: was begun where other models are installed; remove it")


def _identity(source: str, wishes: Wishes, coding: Coding) -> str:
    """What decides the bytes of the output: the input and the options."""
    footage, _ = fingerprint(source)
    options = {name: value for name, value in vars(coding).items() if name not in ("verify", "jobs", "progress")}
    return hashlib.sha256(json.dumps([WRITER, footage, vars(wishes), options]).encode()).hexdigest()


def _encode_stream(reader: VideoReader, target: str, wishes: Wishes, coding: Coding) -> EncodeReport:
    """A pipe is read once: its first frames stand for the rest, and a missed quality cannot be tried again."""
    events = iter(reader)
    head: list[Frame | AudioPacket] = []
    sample: list[Image] = []
    for event in events:
        head.append(event)
        if isinstance(event, Frame):
            sample.append(event.rgb)
        if len(sample) == STREAM_HEAD:
            break
    choices = choose(sample[:: 2 if len(sample) > SAMPLE_FRAMES else 1], wishes)
    # The last of the lossless ways is the one that no later frame can break.
    choice = choices[-1 if wishes.lossless else 0]
    return _write(reader, chain(head, events), target, choice, coding)


def _write(
    reader: VideoReader,
    events: Iterator[Frame | AudioPacket],
    target: str,
    choice: Choice,
    coding: Coding,
    kept: Unfinished | None = None,
) -> EncodeReport:
    with ExitStack() as stack:
        part: Path | None = None
        if kept is not None:
            part, file = kept.part, kept.file
        elif target == STANDARD_STREAM:
            file = stack.enter_context(writing(target))
        else:
            part = stack.enter_context(replacing(target))
            file = stack.enter_context(part.open("wb"))
        pipeline = Pipeline(reader, choice, coding, file, kept)
        report = pipeline.run(events)
        if coding.min_psnr is not None and report.psnr < coding.min_psnr:
            raise QualityError(f"the clip reaches {report.psnr:.2f} dB, asked were {coding.min_psnr:g} dB")
        if part is not None and coding.verify:
            file.flush()
            _verify(part, target, pipeline.predictor, choice.model)
        return report


def _verify(part: Path, target: str, predictor: Predictor, model: ModelFile | None) -> None:
    with Reader(part) as written:
        problems = verify_codes(written, predictor, model)
    if problems:
        raise CorruptFileError(f"{target}: verification failed: {problems[0]}")
