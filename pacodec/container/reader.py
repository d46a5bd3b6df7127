"""Reads a .pac file in any order, from a path, an open file, or memory; damaged files as far as they go."""

from collections.abc import Iterator
from types import TracebackType
from typing import Self

from pacodec.container import chunks
from pacodec.container.audio import unpack_audio
from pacodec.container.gop import Gop
from pacodec.container.index import GopEntry, Index
from pacodec.container.parts import Notes, Timeline, find_model, intact_chunks, read_front, read_gop, read_source_bytes
from pacodec.container.source import Readable, open_source
from pacodec.errors import CorruptFileError
from pacodec.media import AudioPacket


class Reader:
    """An open .pac file; safe to share between threads and across fork.

    header: what the HEAD chunk says. gops: entries of all GOPs that can be read; of a damaged file those that are
    intact, whose frame numbers then have gaps. source_bytes: size of the footage encoded, None when not known.
    truncated: the end is missing. damage: one line for each thing found wrong so far, empty for a good file; a good
    index hides damage to a GOP until that GOP is read.

    Raises FileAccessError, CorruptFileError (not a .pac file, or its first part is damaged), UnsupportedError (a newer
    version), LimitError.
    """

    def __init__(self, file: Readable) -> None:
        self.source = open_source(file)
        self.damage: list[str] = []
        self._note = Notes(self.damage)
        self.truncated = False
        self._index_bytes = 0
        try:
            self._declared, self.header, self._head = read_front(self.source)
            self.head_end = self._head.end
            self._model = find_model(self.source, self.header, self._head)
            index = self._find_index() or self._rebuild_index()
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
    def sizes(self) -> dict[str, int]:
        """Bytes of the file by kind; they add up to its size.

        codes: predictors' payloads. side: the rest of the GOPs (timestamps, parameters, CRCs). header: first 32 bytes
        and HEAD chunk. index, audio, model: their chunks. other: unknown chunks and damage.
        """
        sizes = {
            "codes": self._codes_bytes,
            "side": sum(entry.length + chunks.OVERHEAD for entry in self.gops) - self._codes_bytes,
            "header": self.head_end,
            "index": self._index_bytes,
            "audio": self._audio_bytes,
            "model": self._model.end - self._model.offset if self._model else 0,
        }
        return {**sizes, "other": self.source.size - sum(sizes.values())}

    def gop(self, i: int) -> Gop:
        """Read and check GOP `i` of `gops`; CorruptFileError naming it when it is damaged, LimitError."""
        entry = self.gops[i]
        try:
            return self._read(entry)
        except CorruptFileError as error:
            last = entry.first_frame + entry.frames - 1
            raise CorruptFileError(f"GOP {i} (frames {entry.first_frame} to {last}): {error}") from None

    def audio(self) -> Iterator[AudioPacket]:
        """All packets in file order, a chunk in memory at a time; damaged chunks are left out and noted in `damage`."""
        for chunk in chunks.walk(self.source, self.head_end, self._note):
            if chunk.kind == chunks.AUDIO:
                try:
                    packets = unpack_audio(chunks.read_payload(self.source, chunk), len(self.header.video.audio))
                except CorruptFileError as error:
                    self._note(str(error))
                else:
                    yield from packets

    def model_bytes(self) -> bytes | None:
        """The embedded model file, None when there is none; CorruptFileError when it is damaged."""
        return None if self._model is None else chunks.read_payload(self.source, self._model)

    def _read(self, entry: GopEntry) -> Gop:
        if chunks.chunk_at(self.source, entry.offset) != entry.chunk:
            raise CorruptFileError(f"no GOP chunk of {entry.length} bytes at offset {entry.offset}")
        gop = read_gop(self.source, entry.chunk)
        if GopEntry.of(gop, entry.chunk) != entry:
            raise CorruptFileError("its frames or times are not those of the index")
        return gop

    def _find_index(self) -> Index | None:
        """The index that the last bytes point at; None, with a note, where there is none to be trusted."""
        tail = chunks.chunk_at(self.source, self.source.size - chunks.OVERHEAD - chunks.MOST[chunks.TAIL])
        if tail is None or tail.kind != chunks.TAIL or tail.end != self.source.size:
            return None
        try:
            position = int.from_bytes(chunks.read_payload(self.source, tail), "little")
            chunk = chunks.chunk_at(self.source, position) if position < tail.offset else None
            if chunk is None or chunk.kind != chunks.INDEX or chunk.end != tail.offset:
                self._note("index: the last bytes do not point at it")
                return None
            index = Index.from_payload(chunks.read_payload(self.source, chunk), self.head_end, chunk.offset)
        except CorruptFileError as error:
            self._note(str(error))
            return None
        # Critical chunks stand before the first GOP, so that a reader need not look through the whole file for them.
        first = index.entries[0].chunk if index.entries else chunk
        front = chunks.walk(self.source, self.head_end, self._note)
        if next((c for c in front if c.kind == chunks.GOP or c.offset >= first.offset), None) != first:
            self._note(f"index: {first} is not the first of its kind")
            return None
        self._index_bytes = tail.end - chunk.offset
        frames = sum(entry.frames for entry in index.entries)
        if self._declared not in (0, frames):
            self._note(f"the first bytes declare {self._declared} frames, there are {frames}")
        return index

    def _rebuild_index(self) -> Index:
        """The index from a walk through the whole file, of what is intact."""
        entries = []
        codes_bytes = audio_bytes = 0
        source_bytes = None
        self.truncated = True
        timeline = Timeline(self._declared, self._note)
        for chunk in intact_chunks(self.source, self.head_end, self._note):
            self.truncated = chunk.kind != chunks.TAIL
            if chunk.kind == chunks.GOP:
                try:
                    found = read_gop(self.source, chunk)
                except CorruptFileError as error:
                    self._note(f"{chunk}: {error}")
                    continue
                if timeline.accept(found):
                    entries.append(GopEntry.of(found, chunk))
                    codes_bytes += len(found.payload)
            elif chunk.kind == chunks.AUDIO:
                audio_bytes += chunk.end - chunk.offset
            elif chunk.kind in (chunks.INDEX, chunks.TAIL):
                self._index_bytes += chunk.end - chunk.offset
                if chunk.kind == chunks.INDEX:
                    source_bytes = read_source_bytes(self.source, chunk, self._head, self._note)
        timeline.finish()
        return Index(entries, codes_bytes, audio_bytes, source_bytes)
