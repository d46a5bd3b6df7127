"""A video to a .pac file: what is asked, what the footage allows, and a file that is whole or not there."""

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from pacodec.container import Reader
from pacodec.errors import CorruptFileError, QualityError, UsageError
from pacodec.files import check_pac_target, check_target, fingerprint, replacing, writing
from pacodec.gop.choose import Choice, choose
from pacodec.gop.pipeline import EncodeReport, Pipeline, Progress
from pacodec.gop.resume import PART_SUFFIX, Unfinished, unfinished
from pacodec.gop.survey import SAMPLE_FRAMES, Survey, survey
from pacodec.media import AudioPacket, Frame, Image
from pacodec.metadata import WRITER
from pacodec.models.files import ModelFile
from pacodec.naming import STANDARD_STREAM
from pacodec.options import EncodeOptions
from pacodec.verification import verify_codes
from pacodec.video.reader import VideoReader
from pacodec.video.sequence import is_pattern

STREAM_HEAD = 2 * SAMPLE_FRAMES
"""Frames held back at the start of a pipe, which cannot be sampled all over."""


def encode(
    source: str,
    target: str,
    options: EncodeOptions | None = None,
    *,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress = lambda done, total: None,
    **changes: Any,
) -> EncodeReport:
    """Encode the video `source` into the .pac file `target`; `-` is standard input or output.

    `target` appears when it is complete, or not at all. With `resume`, a run that ends early keeps what it has done in
    `target` + ".part", and the same call goes on from there, to the bytes of an unbroken run. `changes` are fields of
    `EncodeOptions`, by name: quality=3, model="mygame" and so on. Without a model the footage decides (see `choose`).
    `progress` is called with frames done and frames expected.

    Raises the exceptions of `pacodec.errors`: FileAccessError, UsageError, CorruptFileError (the source is no video),
    ModelError, LimitError, QualityError (`min_psnr` not reached).
    """
    options = replace(options or EncodeOptions(), **changes)
    if resume and (STANDARD_STREAM in (source, target) or is_pattern(source)):
        raise UsageError("a pipe or a sequence of pictures cannot be gone on with; leave --resume out")
    if options.verify and target == STANDARD_STREAM:
        raise UsageError("what went to standard output cannot be verified; leave --verify out")
    check_target(target, overwrite=overwrite, sources=(source,))
    check_pac_target(target)
    if source == STANDARD_STREAM:
        with VideoReader(sys.stdin.buffer, options.frame_rate) as reader:
            return _encode_stream(reader, target, options, progress)
    footage = survey(source, options.gop_seconds, options.frame_rate, whole=options.effort > 1)
    choices = choose(footage, options)
    if not resume:
        return _encode_file(source, target, footage, choices, options, progress)
    with unfinished(target, _identity(source, options)) as kept:
        return _encode_file(source, target, footage, choices, options, progress, kept)


def _encode_file(
    source: str,
    target: str,
    footage: Survey,
    choices: Sequence[Choice],
    options: EncodeOptions,
    progress: Progress,
    kept: Unfinished | None = None,
) -> EncodeReport:
    for number in range(kept.choice if kept else 0, len(choices)):
        if kept is not None:
            kept.begin(number)
        try:
            with VideoReader(source, options.frame_rate) as reader:
                choice = choices[number]
                return _write(reader, iter(reader), target, choice, options, progress, footage, kept)
        except QualityError:  # the sample promised more than the whole clip kept
            if target == STANDARD_STREAM or number == len(choices) - 1:
                raise  # what is written to a stream cannot be taken back
    raise UsageError(f"{target}{PART_SUFFIX}: was begun where other models are installed; remove it")


def _identity(source: str, options: EncodeOptions) -> str:
    """What decides the bytes of the output: the input and the options."""
    footage, _ = fingerprint(source)
    deciding = {name: value for name, value in vars(options).items() if name not in ("verify", "jobs")}
    return hashlib.sha256(json.dumps([WRITER, footage, deciding]).encode()).hexdigest()


def _encode_stream(reader: VideoReader, target: str, options: EncodeOptions, progress: Progress) -> EncodeReport:
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
    choices = choose(Survey(sample[:: 2 if len(sample) > SAMPLE_FRAMES else 1]), options)
    # The last of the lossless ways is the one that no later frame can break.
    choice = choices[-1 if options.lossless else 0]
    return _write(reader, chain(head, events), target, choice, options, progress)


def _write(
    reader: VideoReader,
    events: Iterator[Frame | AudioPacket],
    target: str,
    choice: Choice,
    options: EncodeOptions,
    progress: Progress,
    footage: Survey | None = None,
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
        pipeline = Pipeline(reader, choice, options, file, footage=footage, progress=progress, journal=kept)
        report = pipeline.run(events)
        if options.min_psnr is not None and report.psnr < options.min_psnr:
            raise QualityError(f"the clip reaches {report.psnr:.2f} dB, asked were {options.min_psnr:g} dB")
        if part is not None and options.verify:
            file.flush()
            _verify(part, target, choice.model)
        return report


def _verify(part: Path, target: str, model: ModelFile | None) -> None:
    with Reader(part) as written:
        problems = verify_codes(written, model)
    if problems:
        raise CorruptFileError(f"{target}: verification failed: {problems[0]}")
