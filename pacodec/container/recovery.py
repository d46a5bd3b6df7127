"""What can be had of a file that is damaged, cut short or arriving: its intact chunks in order, and what is lost."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import takewhile
from operator import attrgetter

from pacodec.container import chunks
from pacodec.container.byte_source import ByteSource, Readable, open_source
from pacodec.container.chunks import Chunk, Note
from pacodec.container.gop import FIELDS, Gop, side_extent
from pacodec.container.header import Front, read_front
from pacodec.container.index import GopEntry, Index
from pacodec.errors import CorruptFileError, LimitError, PacodecError

MAX_NOTES = 100
"""Lines about damage that are kept."""
DAMAGE = (CorruptFileError, LimitError)
"""What makes a chunk useless and leaves the others alone."""


@dataclass(frozen=True, slots=True)
class Extent:
    """Frames `first_frame` .. `end_frame` - 1, shown from `start` to `end`, in units of the video's time base."""

    first_frame: int
    end_frame: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Loss:
    """Frames `first_frame` to `last_frame` are lost, which were shown from `start` to `end`, in seconds.

    Times are those at which the frames on either side end and begin; `end` is None after the last of them, `start`
    before the first.
    """

    first_frame: int
    last_frame: int
    start: float | None
    end: float | None

    @property
    def frames(self) -> int:
        """The number of frames that are lost."""
        return self.last_frame + 1 - self.first_frame

    def __str__(self) -> str:
        begin = "the start" if self.start is None else f"{self.start:.3f} s"
        until = "the end" if self.end is None else f"{self.end:.3f} s"
        return f"frames {self.first_frame} to {self.last_frame} ({begin} to {until}) are lost"

    @classmethod
    def between(cls, before: Extent | None, after: Extent | None, declared: int, time_base: Fraction) -> "Loss | None":
        """What is missing between two neighbours, of which either may be none; `declared` is the frames of the file.

        None where nothing is.
        """
        first = before.end_frame if before else 0
        end = after.first_frame if after else declared
        if end <= first:
            return None
        return cls(
            first,
            end - 1,
            float(before.end * time_base) if before else None,
            float(after.start * time_base) if after else None,
        )


class Survivors:
    """Collects what is there, in any order; memory grows with the number of gaps, not of frames."""

    def __init__(self) -> None:
        self._extents: list[Extent] = []

    def add(self, extent: Extent) -> None:
        """Take note of frames that are there."""
        last = self._extents[-1] if self._extents else None
        if last is not None and last.end_frame == extent.first_frame:
            self._extents[-1] = Extent(last.first_frame, extent.end_frame, last.start, extent.end)
        else:
            self._extents.append(extent)

    def losses(self, declared: int, time_base: Fraction) -> Iterator[Loss]:
        """What is missing between them, and after them of the `declared` frames of the file (0 = not known)."""
        before: Extent | None = None
        for after in (*sorted(self._extents, key=attrgetter("first_frame")), None):
            if loss := Loss.between(before, after, declared, time_base):
                yield loss
            before = after


def read_gop(source: ByteSource, chunk: Chunk) -> Gop:
    """The GOP in `chunk`; CorruptFileError or LimitError."""
    return Gop.from_payload(chunks.read_payload(source, chunk))


def read_index(source: ByteSource, chunk: Chunk, head: Chunk, note: Note) -> Index | None:
    """What an index chunk says; None, with a note, when it is not usable."""
    try:
        return Index.from_payload(chunks.read_payload(source, chunk), head.end, chunk.offset)
    except DAMAGE as error:
        note(str(error))
        return None


class Notes:
    """Collects lines about damage in `lines`: each once, and not more than anyone reads."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines

    def __call__(self, problem: str) -> None:
        """Add a line."""
        if problem not in self.lines and len(self.lines) <= MAX_NOTES:
            self.lines.append(problem if len(self.lines) < MAX_NOTES else "and more")


class GopOrder:
    """Follows GOPs in file order and notes which frames are lost between them."""

    def __init__(self, declared: int, time_base: Fraction, note: Note) -> None:
        """`declared` is the preamble's frame count, 0 when not known; the index may tell later."""
        self.declared, self._time_base, self._note = declared, time_base, note
        self._last: Extent | None = None

    def accept(self, gop: Gop) -> bool:
        """Whether `gop` follows those accepted before in number and time; else it is noted and must be left out."""
        extent = Extent(gop.first_frame, gop.first_frame + gop.frames, gop.start, gop.end)
        if self._last and (extent.first_frame < self._last.end_frame or extent.start < self._last.end):
            self._note(f"the GOP of frame {gop.first_frame} is out of order")
            return False
        self._note_lost(extent)
        self._last = extent
        return True

    def finish(self) -> None:
        """Note what is lost at the end."""
        frames = self._last.end_frame if self._last else 0
        if self.declared < frames and self.declared:
            self._note(f"the first bytes declare {self.declared} frames, there are {frames}")
        self._note_lost(None)

    def _note_lost(self, after: Extent | None) -> None:
        if loss := Loss.between(self._last, after, self.declared, self._time_base):
            self._note(str(loss))


def intact_chunks(source: ByteSource, offset: int, note: Note) -> Iterator[Chunk]:
    """The chunks from `offset` to the end of the file whose CRCs hold; notes what is damaged, missing or too much."""
    chunk: Chunk | None = None
    for chunk in chunks.walk(source, offset, note):
        source.forget(chunk.offset)
        if chunk.kind == chunks.TAIL and chunk.length != chunks.MOST[chunks.TAIL]:
            note(f"{chunk} is too short")
        if chunks.is_intact(source, chunk):
            yield chunk
        else:
            note(f"{chunk} is damaged (CRC mismatch)")
    if chunk is None or chunk.kind != chunks.TAIL:
        note("the end is missing: the file was cut short or never finished")


def sound_until(file: Readable) -> int:
    """The end of the last chunk up to which a file is as it was written; 0 where not even its front is."""
    source = open_source(file)
    problems: list[str] = []
    try:
        end = read_front(source).head.end
        for chunk in intact_chunks(source, end, problems.append):
            if problems:
                break
            end = chunk.end
    except PacodecError:
        return 0
    finally:
        source.close()
    return end


@dataclass(frozen=True)
class Rebuilt:
    """An index of the GOPs that are intact, and what else a walk through the file tells.

    declared: frames of the whole file, 0 when it does not tell. truncated: the end is missing. index_bytes, copy_bytes:
    of the index with its tail and of the copy of the front, whole chunks.
    """

    index: Index
    declared: int
    truncated: bool
    index_bytes: int
    copy_bytes: int


def rebuild(source: ByteSource, front: Front, note: Note) -> Rebuilt:
    """Walk through the file; what is damaged or lost is noted and left out."""
    entries: list[GopEntry] = []
    codes_bytes = audio_bytes = index_bytes = copy_bytes = 0
    source_bytes, truncated = None, True
    timeline = GopOrder(front.frames, front.header.video.time_base, note)
    for chunk in intact_chunks(source, front.head.end, note):
        truncated = chunk.kind != chunks.TAIL
        if chunk.kind == chunks.GOP:
            try:
                found = read_gop(source, chunk)
            except DAMAGE as error:
                note(f"{chunk}: {error}")
                continue
            if timeline.accept(found):
                entries.append(GopEntry.of(found, chunk))
                codes_bytes += len(found.payload)
        elif chunk.kind == chunks.AUDIO:
            audio_bytes += chunk.end - chunk.offset
        elif chunk.kind == chunks.FRONT:
            copy_bytes = chunk.end - chunk.offset
        elif chunk.kind in (chunks.INDEX, chunks.TAIL):
            index_bytes += chunk.end - chunk.offset
            if chunk.kind == chunks.INDEX and (index := read_index(source, chunk, front.head, note)):
                source_bytes = index.source_bytes
                timeline.declared = timeline.declared or index.frames
    timeline.finish()
    made = Index(entries, codes_bytes, audio_bytes, source_bytes)
    return Rebuilt(made, timeline.declared, truncated, index_bytes, copy_bytes)


def is_doubtful(source: ByteSource, index: Index, chunk: Chunk) -> bool:
    """Whether a GOP does not begin as the index, which is in `chunk`, says of it, or others follow those it knows.

    Reads some bytes of each GOP. Their times and CRCs are found wrong when they are read.
    """
    if not all(_begins_as(source, entry) for entry in index.entries):
        return True
    end = index.entries[-1].chunk.end if index.entries else chunk.offset
    following = chunks.walk(source, end, lambda problem: None)
    return any(found.kind == chunks.GOP for found in takewhile(lambda found: found.offset < chunk.offset, following))


def _begins_as(source: ByteSource, entry: GopEntry) -> bool:
    try:
        if chunks.chunk_at(source, entry.offset) != entry.chunk:
            return False
        first_frame, frames, *_ = _fixed_fields(source, entry.chunk)
    except DAMAGE:
        return False
    return (first_frame, frames) == (entry.first_frame, entry.frames)


def coded_frames(source: ByteSource, chunk: Chunk) -> int:
    """How many frames of a GOP are no repeats, as its first bytes say; 0 where they are no such bytes."""
    try:
        return _fixed_fields(source, chunk)[2]
    except DAMAGE:
        return 0


def _fixed_fields(source: ByteSource, chunk: Chunk) -> tuple[int, int, int, int, int]:
    return side_extent(source.read_at(chunk.payload_offset, FIELDS.size))
