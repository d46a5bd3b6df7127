"""Reads all of a file and says what is wrong with it."""

from pacodec.container import chunks
from pacodec.container.audio import unpack_audio
from pacodec.container.front import unpack_front
from pacodec.container.parts import Notes
from pacodec.container.reader import Reader
from pacodec.errors import PacodecError


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
