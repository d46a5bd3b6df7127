"""The index made anew from what a whole file holds, and the question whether the one it has can be true."""

from dataclasses import dataclass
from itertools import takewhile

from pacodec.container import chunks
from pacodec.container.chunks import Chunk, Note
from pacodec.container.front import Front
from pacodec.container.gop import FIELDS, side_extent
from pacodec.container.index import GopEntry, Index
from pacodec.container.parts import DAMAGE, Timeline, intact_chunks, read_gop, read_index
from pacodec.container.source import Source


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


def rebuild(source: Source, front: Front, note: Note) -> Rebuilt:
    """Walk through the file; what is damaged or lost is noted and left out."""
    entries: list[GopEntry] = []
    codes_bytes = audio_bytes = index_bytes = copy_bytes = 0
    source_bytes, truncated = None, True
    timeline = Timeline(front.frames, front.header.video.time_base, note)
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


def is_doubtful(source: Source, index: Index, chunk: Chunk) -> bool:
    """Whether a GOP does not begin as the index, which is in `chunk`, says of it, or others follow those it knows.

    Reads some bytes of each GOP. Their times and CRCs are found wrong when they are read.
    """
    if not all(_begins_as(source, entry) for entry in index.entries):
        return True
    end = index.entries[-1].chunk.end if index.entries else chunk.offset
    following = chunks.walk(source, end, lambda problem: None)
    return any(found.kind == chunks.GOP for found in takewhile(lambda found: found.offset < chunk.offset, following))


def _begins_as(source: Source, entry: GopEntry) -> bool:
    try:
        if chunks.chunk_at(source, entry.offset) != entry.chunk:
            return False
        first_frame, frames, *_ = side_extent(source.read_at(entry.chunk.payload_offset, FIELDS.size))
    except DAMAGE:
        return False
    return (first_frame, frames) == (entry.first_frame, entry.frames)
