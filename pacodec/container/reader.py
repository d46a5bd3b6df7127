"""Reads .pac files: in any order from a path, an open file or memory, or front to back from a pipe; damaged ones as far
as they go.
"""

from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO, Self

from pacodec import limits
from pacodec.common.media import AudioPacket
from pacodec.container import chunks
from pacodec.container.audio import unpack_audio
from pacodec.container.byte_source import Readable, StreamSource, open_source
from pacodec.container.front import find_model, front_end, model_end, read_model, read_reference, reference_chunk
from pacodec.container.gop import Gop
from pacodec.container.header import Front, index_chunk, read_front, recover_front, unpack_front
from pacodec.container.index import GopEntry, Index
from pacodec.container.recovery import (
    DAMAGE,
    GopOrder,
    Notes,
    Rebuilt,
    coded_frames,
    intact_chunks,
    is_doubtful,
    read_gop,
    read_index,
    rebuild,
)
from pacodec.errors import CorruptFileError, PacodecError, UnsupportedError


class Reader:
    """An open .pac file; safe to share between threads and across fork.

    header: what the HEAD chunk says. gops: entries of all GOPs that can be read; of a damaged file those that are
    intact, whose frame numbers then have gaps. source_bytes: size of the footage encoded, None when not known.
    truncated: the end is missing. damage: one line for each thing found wrong so far, empty for a good file; a good
    index hides damage to a GOP until that GOP is read. declared: frames of the whole file, 0 when it does not tell.

    An index that is not that of the GOPs is replaced by one made anew. Where only their times are not those that it
    says, this shows when a GOP is read: the entries in `gops` change then.

    Raises FileAccessError, CorruptFileError (not a .pac file, or its first part is damaged and there is no copy),
    UnsupportedError (a newer version), LimitError.
    """

    def __init__(self, file: Readable) -> None:
        self.source = open_source(file)
        self.damage: list[str] = []
        self._note = Notes(self.damage)
        self.truncated = False
        self._index_bytes = self._copy_bytes = 0
        try:
            self._front = self._read_front()
            self.declared, self.header, self.head_end = self._front.frames, self._front.header, self._front.head.end
            self._model = find_model(self.source, self.header, self._front.head)
            self._body = model_end(self.header, self._front.head, self._model)
            self._times_are_right = False
            index = self._find_index() or self._adopt(rebuild(self.source, self._front, self._note))
        except BaseException:
            self.close()
            raise
        self.gops = list(index.entries)
        self.source_bytes = index.source_bytes
        self._codes_bytes, self._audio_bytes = index.codes_bytes, index.audio_bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file."""
        self.source.close()

    @property
    def frames(self) -> int:
        """Frames that can be read: the sum over `gops`."""
        return sum(entry.frames for entry in self.gops)

    @property
    def coded_frames(self) -> int:
        """Frames of `gops` that are no repeats, as the first bytes of each say, whose checksum is not looked at."""
        return sum(min(entry.frames, coded_frames(self.source, entry.chunk)) for entry in self.gops)

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of the file by kind; they add up to its size.

        codes: coders' payloads. reference: what GOPs begin after. side: the rest of the GOPs (timestamps, parameters,
        CRCs). header: preamble and HEAD chunk, and their copy. index, audio, model: their chunks. other: unknown chunks
        and damage.
        """
        reference = reference_chunk(self.header, self._front.head)
        sizes = {
            "codes": self._codes_bytes,
            "reference": reference.end - reference.offset if reference else 0,
            "side": sum(entry.length + chunks.OVERHEAD for entry in self.gops) - self._codes_bytes,
            "header": self.head_end + self._copy_bytes,
            "index": self._index_bytes,
            "audio": self._audio_bytes,
            "model": min(self._body, self.source.size) - front_end(self.header, self._front.head),
        }
        return {**sizes, "other": self.source.size - sum(sizes.values())}

    def gop(self, i: int) -> Gop:
        """Read and check GOP `i` of `gops`; CorruptFileError or LimitError naming it when it is of no use."""
        try:
            return self._read(i)
        except DAMAGE as error:
            raise type(error)(f"{self.label(i)}: {error}") from None

    def label(self, i: int) -> str:
        """What messages call GOP `i` of `gops`."""
        entry = self.gops[i]
        return f"GOP {i} (frames {entry.first_frame} to {entry.first_frame + entry.frames - 1})"

    def audio(self) -> Iterator[AudioPacket]:
        """All packets in file order, a chunk in memory at a time; damaged chunks are left out and noted in `damage`."""
        for chunk in chunks.walk(self.source, self.head_end, self._note):
            if chunk.kind == chunks.AUDIO:
                try:
                    packets = unpack_audio(chunks.read_payload(self.source, chunk), len(self.header.video.audio))
                except DAMAGE as error:
                    self._note(str(error))
                else:
                    yield from packets

    def model_bytes(self) -> bytes | None:
        """The embedded model file, None when there is none or, as `damage` then says, it is damaged."""
        return read_model(self.source, self.header, self._model, self._note)

    def reference(self) -> list[bytes]:
        """The segments of the reference that GOPs begin after, if there is one; CorruptFileError when it is lost."""
        return read_reference(self.source, self.header, self._front.head)

    def _read_front(self) -> Front:
        try:
            return read_front(self.source)
        except (CorruptFileError, UnsupportedError) as error:
            front = recover_front(self.source)
            if front is None:
                raise
            self._note(f"{error}; taken from the copy at the end")
            return front

    def _read(self, i: int) -> Gop:
        entry = self.gops[i]
        if chunks.chunk_at(self.source, entry.offset) != entry.chunk:
            raise CorruptFileError(f"no GOP chunk of {entry.length} bytes at offset {entry.offset}")
        gop = read_gop(self.source, entry.chunk)
        found = GopEntry.of(gop, entry.chunk)
        if found != entry and not self._times_are_right:
            self._correct_times()
        if found != self.gops[i]:
            raise CorruptFileError("its frames or times are not those of the index")
        return gop

    def _correct_times(self) -> None:
        """Take the entries of all GOPs that are intact from themselves."""
        rebuilt = rebuild(self.source, self._front, Notes([])).index.entries
        found = {(entry.chunk, entry.first_frame, entry.frames): entry for entry in rebuilt}
        entries = [found.get((entry.chunk, entry.first_frame, entry.frames), entry) for entry in self.gops]
        if entries != self.gops:
            self._note("index: its times are not those of the GOPs")
            self.gops[:] = entries
        self._times_are_right = True

    def _find_index(self) -> Index | None:
        """The index that the last bytes point at; None, with a note, where there is none to be trusted."""
        try:
            chunk = index_chunk(self.source)
            if chunk is None:
                return None
            index = Index.from_payload(chunks.read_payload(self.source, chunk), self.head_end, chunk.offset)
        except DAMAGE as error:
            self._note(str(error))
            return None
        # Critical chunks stand before the first GOP, so that a reader need not look through the whole file for them.
        first = index.entries[0].chunk if index.entries else chunk
        following = chunks.walk(self.source, self._body, self._note)
        if next((c for c in following if c.kind == chunks.GOP or c.offset >= first.offset), None) != first:
            self._note(f"index: {first} is not the first of its kind")
            return None
        if is_doubtful(self.source, index, chunk):
            problems: list[str] = []
            rebuilt = rebuild(self.source, self._front, Notes(problems))
            if not set(rebuilt.index.entries) <= set(index.entries):  # else the GOPs are damaged, and not the index
                for problem in ("index: it is not that of the GOPs", *problems):
                    self._note(problem)
                return self._adopt(rebuilt)
        self._index_bytes = self.source.size - chunk.offset
        copy = None if index.front_copy is None else chunks.chunk_at(self.source, index.front_copy)
        self._copy_bytes = copy.end - copy.offset if copy and copy.kind == chunks.FRONT else 0
        if self.declared not in (0, index.frames):
            self._note(f"the first bytes declare {self.declared} frames, there are {index.frames}")
        self.declared = index.frames
        return index

    def _adopt(self, rebuilt: Rebuilt) -> Index:
        self.declared, self.truncated = rebuilt.declared, rebuilt.truncated
        self._index_bytes, self._copy_bytes = rebuilt.index_bytes, rebuilt.copy_bytes
        return rebuilt.index


class StreamReader:
    """A .pac file arriving in order; iterate over it once.

    header: what the HEAD chunk says. declared: frames of the whole file, 0 as long as that is not known.
    damage: one line for each thing found wrong so far. source_bytes: size of the footage encoded, known at the end,
    None when the file does not tell.

    Raises FileAccessError, CorruptFileError (not a .pac file, or its first part is damaged), UnsupportedError,
    LimitError.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.damage: list[str] = []
        self._note = Notes(self.damage)
        self.source_bytes: int | None = None
        self._source = StreamSource(file)
        front = read_front(self._source)
        self.declared, self.header, self._head = front.frames, front.header, front.head
        self._segments = read_reference(self._source, self.header, self._head)
        model = find_model(self._source, self.header, self._head)
        self._model = read_model(self._source, self.header, model, self._note)
        self._next = model_end(self.header, self._head, model)

    def model_bytes(self) -> bytes | None:
        """The embedded model file, None when there is none."""
        return self._model

    def reference(self) -> list[bytes]:
        """The segments of the reference that GOPs begin after, if there is one."""
        return self._segments

    def __iter__(self) -> Iterator[Gop | AudioPacket]:
        """GOPs and audio packets in file order; what is damaged is left out and noted in `damage`.

        LimitError where the GOPs so far declare more coded pixels than a real file of as many bytes has.
        """
        video, coded = self.header.video, 0
        pixels = max(video.width * video.height, self.header.grid.size)
        timeline = GopOrder(self.declared, self.header.video.time_base, self._note)
        for chunk in intact_chunks(self._source, self._next, self._note):
            if chunk.kind == chunks.GOP:
                coded += coded_frames(self._source, chunk)
                limits.check_coded_pixels(coded, pixels, chunk.end)
            try:
                if chunk.kind == chunks.GOP:
                    gop = read_gop(self._source, chunk)
                    if timeline.accept(gop):
                        yield gop
                elif chunk.kind == chunks.AUDIO:
                    payload = chunks.read_payload(self._source, chunk)
                    yield from unpack_audio(payload, len(self.header.video.audio))
            except DAMAGE as error:
                self._note(f"{chunk}: {error}")
            if chunk.kind == chunks.INDEX and (index := read_index(self._source, chunk, self._head, self._note)):
                self.source_bytes = index.source_bytes
                timeline.declared = self.declared = self.declared or index.frames
        timeline.finish()


def verify(reader: Reader) -> list[str]:
    """Check every CRC, every field, and that the index agrees with the file; one line a problem, none for a good file.

    The codes themselves are not decoded: the decoder checks them against `Gop.codes_crc`.
    """
    problems = list(reader.damage)
    note = Notes(problems)
    numbers = {entry.chunk: i for i, entry in enumerate(reader.gops)}
    found = {"codes": 0, "audio": 0}
    for chunk in chunks.walk(reader.source, reader.head_end, note):
        try:
            if chunk in numbers:
                found["codes"] += len(reader.gop(numbers.pop(chunk)).payload)
            elif not chunks.is_intact(reader.source, chunk):
                note(f"{chunk} is damaged (CRC mismatch)")
            elif chunk.kind == chunks.AUDIO:
                found["audio"] += chunk.end - chunk.offset
                unpack_audio(chunks.read_payload(reader.source, chunk), len(reader.header.video.audio))
            elif chunk.kind == chunks.FRONT:
                copy = unpack_front(chunks.read_payload(reader.source, chunk))
                if (copy.frames, copy.header) != (reader.declared, reader.header):
                    note(f"{chunk} is no copy of the header")
            elif chunk.kind == chunks.GOP:
                note(f"{chunk} is not in the index")
        except PacodecError as error:
            note(str(error))
    for problem in reader.damage:  # found on the way
        note(problem)
    for i in numbers.values():
        note(f"{reader.label(i)}: not where the index says")
    for kind, size in found.items():
        if not problems and size != reader.sizes[kind]:
            note(f"the index declares {reader.sizes[kind]} bytes of {kind}, there are {size}")
    return problems
