"""Reads a .pac file front to back from a pipe: memory holds a chunk or two, however long the video."""

from collections.abc import Iterator
from typing import BinaryIO

from pacodec.container import chunks
from pacodec.container.audio import unpack_audio
from pacodec.container.front import read_front
from pacodec.container.gop import Gop
from pacodec.container.parts import DAMAGE, Notes, Timeline, find_model, intact_chunks, read_gop, read_index
from pacodec.container.source import StreamSource
from pacodec.media import AudioPacket


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
        self._next = self._head.end
        self._model: bytes | None = None
        model = find_model(self._source, self.header, self._head)
        if model:
            self._model = chunks.read_payload(self._source, model)
            self._next = model.end

    def model_bytes(self) -> bytes | None:
        """The embedded model file, None when there is none."""
        return self._model

    def __iter__(self) -> Iterator[Gop | AudioPacket]:
        """GOPs and audio packets in file order; what is damaged is left out and noted in `damage`."""
        timeline = Timeline(self.declared, self.header.video.time_base, self._note)
        for chunk in intact_chunks(self._source, self._next, self._note):
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
