"""A video to a .pac file: what is asked, what the footage allows, and a file that is whole or not there."""

import hashlib
import json
import math
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import cache, cached_property
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pacodec.base_layer.encoders import release_memory
from pacodec.common.files import STANDARD_STREAM, check_target, fingerprint, replacing, writing
from pacodec.common.media import AudioPacket, EncoderInput, Frame, Image
from pacodec.common.pixels import ColourSet
from pacodec.container import Reader
from pacodec.container.header import WRITER
from pacodec.container.writer import check_pac_target
from pacodec.decoder import Decoder
from pacodec.errors import CorruptFileError, EstimateError, QualityError, UsageError
from pacodec.gop.choose_transform import TransformChoice, choose_transform
from pacodec.gop.feed import ArrayFrames
from pacodec.gop.pipeline import Pipeline
from pacodec.gop.resume import PART_SUFFIX, Unfinished, unfinished
from pacodec.gop.survey import SAMPLE_FRAMES, Survey, survey
from pacodec.models.files import ModelFile
from pacodec.options import EncodeOptions
from pacodec.reports import EncodeReport, ProgressCallback
from pacodec.verification import verify_codes
from pacodec.video.reader import VideoReader
from pacodec.video.sequence import is_pattern

if TYPE_CHECKING:
    from pacodec.base_layer.choose_codec import GridTrial, SourceProbe, Untried
    from pacodec.base_layer.pipeline import BaseLayerPlan

STREAM_HEAD = 2 * SAMPLE_FRAMES
"""Frames held back at the start of a pipe, which cannot be sampled all over."""

LABELLED_COLOURS = 60_000
"""Colours up to which frames that are not known beforehand are coded by labels of colours."""


def encode(
    source: str,
    target: str,
    options: EncodeOptions | None = None,
    *,
    overwrite: bool = False,
    resume: bool = False,
    progress: ProgressCallback = lambda done, total: None,
    **changes: Any,
) -> EncodeReport:
    """Encode the video `source` into the .pac file `target`; `-` is standard input or output.

    `target` appears when it is complete, or not at all. With `resume`, a run that ends early keeps what it has done in
    `target` + ".part", and the same call goes on from there, to the bytes of an unbroken run. `changes` are fields of
    `EncodeOptions`, by name: quality=3, model="mygame" and so on. Without a model the footage decides.
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
    ways = _Ways(source, options)
    if not resume:
        return _encode_file(source, target, ways, options, progress)
    with unfinished(target, _identity(source, options)) as kept:
        return _encode_file(source, target, ways, options, progress, kept)


class _Ways:
    """How a file may be encoded, the preferred way first: base layers that are smaller than code grids, then these.

    What is not tried is not worked out: choosing code grids for large pictures takes longer than coding them otherwise.
    """

    def __init__(self, source: str, options: EncodeOptions) -> None:
        self.source, self.options = source, options

    def __iter__(self) -> Iterator["BaseLayerPlan | TransformChoice"]:
        line, others, most = "", list["BaseLayerPlan"](), math.inf
        if _is_free(self.options):
            from pacodec.base_layer.choose_codec import decide, probe

            decision = decide(probe(self.source, self.options.frame_rate), self.options, self._grid_trial)
            yield from decision.plans
            line, others, most = decision.line, decision.others, decision.most
        for choice in self.choices:
            yield replace(choice, reason=f"{choice.reason}; {line}", most=most) if line else choice
        yield from others

    @cached_property
    def footage(self) -> Survey:
        """What is known of the footage after it was looked at as a whole."""
        options = self.options
        return survey(self.source, options.gop_seconds, options.frame_rate, whole=options.effort > 1)

    @cached_property
    def choices(self) -> list[TransformChoice]:
        """The transforms to code grids, see `choose_transform`."""
        return choose_transform(self.footage, self.options)

    def _grid_trial(self, footage: "SourceProbe") -> "GridTrial | Untried":
        from pacodec.gop.choose_transform import grid_trial

        return grid_trial(footage, lambda: (self.choices[0], self.footage.gops))


def _encode_file(
    source: str,
    target: str,
    ways: _Ways,
    options: EncodeOptions,
    progress: ProgressCallback,
    kept: Unfinished | None = None,
) -> EncodeReport:
    """By the first of the ways that keeps what it promised."""
    failure: QualityError | EstimateError | UsageError
    failure = UsageError(f"{target}{PART_SUFFIX}: was begun where other models are installed; remove it")
    for number, way in enumerate(ways):
        if kept is not None:
            if number < kept.choice:
                continue
            kept.begin(number)
        if target == STANDARD_STREAM:
            way = replace(way, most=math.inf)  # what is written to a stream cannot be taken back
        footage = ways.footage if isinstance(way, TransformChoice) else None
        release_memory()  # of what was looked at and tried
        try:
            with VideoReader(source, options.frame_rate) as reader:
                return _write(reader, iter(reader), target, way, options, progress, footage, kept, source)
        except (QualityError, EstimateError) as error:  # the sample promised more than the whole clip kept
            if target == STANDARD_STREAM:
                raise
            failure = error
    raise failure


def _identity(source: str, options: EncodeOptions) -> str:
    """What decides the bytes of the output: the input and the options."""
    footage, _ = fingerprint(source)
    deciding = {name: value for name, value in vars(options).items() if name not in ("verify", "jobs")}
    return hashlib.sha256(json.dumps([WRITER, footage, deciding]).encode()).hexdigest()


def _encode_stream(
    reader: EncoderInput, target: str, options: EncodeOptions, progress: ProgressCallback
) -> EncodeReport:
    """A pipe is read once: its first frames stand for the rest, and a missed quality cannot be tried again."""
    events = iter(reader)
    head, sample = _head(events)

    @cache
    def choice() -> TransformChoice:
        choices = choose_transform(Survey(sample), options)
        # The last of the lossless ways is the one that no later frame can break.
        return choices[-1 if options.lossless else 0]

    way: TransformChoice | BaseLayerPlan | None = None
    if _is_free(options) and not options.lossless:
        from pacodec.base_layer.choose_codec import decide, probe_head
        from pacodec.gop.choose_transform import grid_trial

        frames = [event for event in head if isinstance(event, Frame)]
        footage = probe_head(frames, reader.format, reader.frames_hint)
        decision = decide(footage, options, lambda footage: grid_trial(footage, lambda: (choice(), 0)))
        way = replace(decision.plans[0], most=math.inf) if decision.plans else None
    return _write(reader, chain(head, events), target, way or choice(), options, progress)


def _head(events: Iterator[Frame | AudioPacket]) -> tuple[list[Frame | AudioPacket], list[Image]]:
    """What a stream begins with, and a sample of its pictures."""
    head: list[Frame | AudioPacket] = []
    pictures: list[Image] = []
    for event in events:
        head.append(event)
        if isinstance(event, Frame):
            pictures.append(event.rgb)
        if len(pictures) == STREAM_HEAD:
            break
    return head, pictures[:: 2 if len(pictures) > SAMPLE_FRAMES else 1]


def encode_frames(source: ArrayFrames, target: str, options: EncodeOptions) -> EncodeReport:
    """Encode frames as they come into the .pac file `target`, which appears when it is complete, or not at all.

    Lossless coding begins with labels for the colours there are, which is quick. Frames that bring more colours than
    there are labels are coded another way, and what the file has by then is coded again. Raises what `encode` raises.
    """
    if not options.lossless:
        return _encode_stream(source, target, options, lambda done, total: None)
    events = iter(source)
    head, sample = _head(events)
    events = chain(head, events)
    way, *slower = choose_transform(Survey(sample, grey=source.layout.grey), options)
    with replacing(target) as part:
        labelled = FewColours(events) if slower else None
        report = _write_part(source, labelled or events, part, way, options)
        if labelled is not None and labelled.next is not None:
            way = slower[0]
            with TemporaryDirectory(prefix=".", dir=part.parent) as folder:
                shorter = part.rename(Path(folder) / part.name)
                everything = chain(_frames_of(shorter), [labelled.next], events)
                report = _write_part(source, everything, part, way, options)
        if options.verify:
            _verify(part, target, way.model)
    return report


def _write_part(
    source: EncoderInput,
    events: Iterable[Frame | AudioPacket],
    part: Path,
    choice: TransformChoice,
    options: EncodeOptions,
) -> EncodeReport:
    with part.open("wb") as file:
        return Pipeline(source, choice, options, file).run(iter(events))


def _frames_of(path: Path) -> Iterator[Frame]:
    """The frames of a file that `encode_frames` made."""
    with Decoder(path) as video:
        pictures = (picture for batch in video.batches() for picture in batch)
        for number, picture in enumerate(pictures):
            yield Frame(picture, number, 1)


class FewColours:
    """Events up to the frame with which they have had more colours than labels can be kept for."""

    next: Frame | None = None
    """That frame, when iteration has ended because of it."""

    def __init__(self, events: Iterator[Frame | AudioPacket]) -> None:
        self._events = events

    def __iter__(self) -> Iterator[Frame | AudioPacket]:
        colours = ColourSet()
        for event in self._events:
            if isinstance(event, Frame):
                colours.add(event.rgb)
                if len(colours) > LABELLED_COLOURS:
                    self.next = event
                    return
            yield event


def _is_free(options: EncodeOptions) -> bool:
    """Whether nothing asked for is of code grids alone."""
    return options.model is None and options.quantizer is None and options.coder is None


def _write(
    reader: EncoderInput,
    events: Iterator[Frame | AudioPacket],
    target: str,
    choice: "TransformChoice | BaseLayerPlan",
    options: EncodeOptions,
    progress: ProgressCallback,
    footage: Survey | None = None,
    kept: Unfinished | None = None,
    source: str = STANDARD_STREAM,
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
        if isinstance(choice, TransformChoice):
            pipeline = Pipeline(reader, choice, options, file, footage=footage, progress=progress, journal=kept)
            report = pipeline.run(events)
        else:
            from pacodec.base_layer.pipeline import BaseLayerPipeline

            report = BaseLayerPipeline(reader, source, choice, options, file, progress).run(events)
        if options.min_psnr is not None and report.psnr < options.min_psnr:
            raise QualityError(f"the clip reaches {report.psnr:.2f} dB, asked were {options.min_psnr:g} dB")
        if part is not None and options.verify:
            file.flush()
            _verify(part, target, choice.model if isinstance(choice, TransformChoice) else None)
        return report


def _verify(part: Path, target: str, model: ModelFile | None) -> None:
    with Reader(part) as written:
        problems = verify_codes(written, model)
    if problems:
        raise CorruptFileError(f"{target}: verification failed: {problems[0]}")
