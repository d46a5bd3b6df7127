"""What reading a file and reading a pipe share: the front of the file, and the intact chunks in order."""

from collections.abc import Iterator

from pacodec.container import chunks
from pacodec.container.chunks import Chunk, Note
from pacodec.container.gop import MAX_PTS, Gop
from pacodec.container.header import Header
from pacodec.container.index import Index
from pacodec.container.preamble import PREAMBLE_BYTES, unpack_preamble
from pacodec.container.source import Source
from pacodec.errors import CorruptFileError

MAX_NOTES = 100
"""Lines about damage that are kept."""


def read_front(source: Source) -> tuple[int, Header, Chunk]:
    """Declared frames (0 = unknown), header, and the HEAD chunk.

    Nothing can be decoded without them: CorruptFileError, UnsupportedError or LimitError where they are not usable.
    """
    frames = unpack_preamble(source.read_at(0, PREAMBLE_BYTES))
    head = chunks.chunk_at(source, PREAMBLE_BYTES)
    if head is None or head.kind != chunks.HEAD:
        raise CorruptFileError("the header is damaged or missing, nothing can be decoded without it")
    return frames, Header.from_msgpack(chunks.read_payload(source, head)), head


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


def read_source_bytes(source: Source, chunk: Chunk, head: Chunk, note: Note) -> int | None:
    """The size of the encoded footage that an index chunk tells; None, with a note, when the index is not usable."""
    try:
        return Index.from_payload(chunks.read_payload(source, chunk), head.end, chunk.offset).source_bytes
    except CorruptFileError as error:
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

    def __init__(self, declared: int, note: Note) -> None:
        """`declared` is the preamble's frame count, 0 when not known."""
        self._declared = declared
        self._note = note
        self._next_frame = 0
        self._end = -MAX_PTS

    def accept(self, gop: Gop) -> bool:
        """Whether `gop` follows those accepted before in number and time; else it is noted and must be left out."""
        if gop.first_frame < self._next_frame or gop.start < self._end:
            self._note(f"the GOP of frame {gop.first_frame} is out of order")
            return False
        self._note_lost(gop.first_frame)
        self._next_frame, self._end = gop.first_frame + gop.frames, gop.end
        return True

    def finish(self) -> None:
        """Note what is lost at the end."""
        if self._declared < self._next_frame and self._declared:
            self._note(f"the first bytes declare {self._declared} frames, there are {self._next_frame}")
        self._note_lost(self._declared)

    def _note_lost(self, until: int) -> None:
        if until > self._next_frame:
            self._note(f"frames {self._next_frame} to {until - 1} are lost")


def intact_chunks(source: Source, offset: int, note: Note) -> Iterator[Chunk]:
    """The chunks from `offset` to the end of the file whose CRCs hold; notes what is damaged, missing or too much."""
    chunk: Chunk | None = None
    for chunk in chunks.walk(source, offset, note):
        source.forget(chunk.offset)
        if chunks.is_intact(source, chunk):
            yield chunk
        else:
            note(f"{chunk} is damaged (CRC mismatch)")
    if chunk is None or chunk.kind != chunks.TAIL:
        note("the end is missing: the file was cut short or never finished")
