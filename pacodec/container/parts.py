"""What reading a file and reading a pipe share: the model, the intact chunks in order, and what is lost of them."""

from collections.abc import Iterator
from fractions import Fraction

from pacodec.container import chunks
from pacodec.container.chunks import Chunk, Note
from pacodec.container.front import read_front
from pacodec.container.gop import Gop
from pacodec.container.header import Header
from pacodec.container.index import Index
from pacodec.container.losses import Extent, Loss
from pacodec.container.source import Readable, Source, open_source
from pacodec.errors import CorruptFileError, LimitError, PacodecError

MAX_NOTES = 100
"""Lines about damage that are kept."""
DAMAGE = (CorruptFileError, LimitError)
"""What makes a chunk useless and leaves the others alone."""


def find_model(source: Source, header: Header, head: Chunk) -> Chunk | None:
    """The chunk of the embedded model, which only ever follows the HEAD chunk."""
    if header.model is None:
        # From a pipe, the first GOP is not waited for.
        return None
    chunk = chunks.chunk_at(source, head.end)
    return chunk if chunk is not None and chunk.kind == chunks.MODEL else None


def read_gop(source: Source, chunk: Chunk) -> Gop:
    """The GOP in `chunk`; CorruptFileError or LimitError."""
    return Gop.from_payload(chunks.read_payload(source, chunk))


def read_index(source: Source, chunk: Chunk, head: Chunk, note: Note) -> Index | None:
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


class Timeline:
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


def intact_chunks(source: Source, offset: int, note: Note) -> Iterator[Chunk]:
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
