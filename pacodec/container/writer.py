"""Writes a .pac file front to back: memory does not grow with the video, and the output may be a pipe.

And says what is such a file, and what may become one.
"""

import fcntl
import io
import os
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Self

from pacodec.common.files import STANDARD_STREAM
from pacodec.common.media import AudioPacket
from pacodec.container import chunks
from pacodec.container.audio import pack_audio
from pacodec.container.front import pack_reference, parity_of
from pacodec.container.gop import Gop
from pacodec.container.header import COPY_SHARE, MAGIC, PREAMBLE_BYTES, Header, pack_front, pack_preamble
from pacodec.container.index import GopEntry, Index
from pacodec.container.reader import Reader
from pacodec.errors import FileAccessError, UsageError


class Writer:
    """Appends chunks to `file`, which stays the caller's to flush and close.

    A file that is not ended by `close` reads as one that was cut short. Raises FileAccessError when writing fails,
    LimitError when something is over a bound of the format.
    """

    def __init__(
        self, file: BinaryIO, header: Header, model: bytes | None = None, reference: Sequence[bytes] = ()
    ) -> None:
        """Write the preamble, `header`, the segments of the reference that it describes, and the bytes of a model file
        when one is to be embedded.
        """
        if model is not None and header.model is None:
            raise UsageError("a model is embedded that the header does not name")
        self._file = file
        self._streams = len(header.video.audio)
        self._offset = 0
        self._entries: list[GopEntry] = []
        self._codes_bytes = self._audio_bytes = 0
        self._closed = False
        self._origin = _patch_position(file)
        self._write(pack_preamble(frames=0))
        if model is not None and header.model is not None:
            header = replace(header, model=replace(header.model, size=len(model)))
        self._header = header.to_msgpack()
        self._add_chunk(chunks.HEAD, (self._header,))
        self._head_end = self._offset
        if reference:
            self._add_chunk(chunks.REFERENCE, (pack_reference(reference),))
        if model is not None:
            self._add_chunk(chunks.MODEL, (model,))
            self._add_chunk(chunks.MODEL_PARITY, (parity_of(model),))

    @classmethod
    def resume(
        cls, file: BinaryIO, header: Header, model: bytes | None = None, reference: Sequence[bytes] = ()
    ) -> Self:
        """Go on at the end of `file`, a regular one open to read and write that holds intact chunks and no index.

        UsageError when it does not begin as one with this header, reference and model does.
        """
        front = io.BytesIO()
        writer = cls(front, header, model, reference)
        file.seek(0)
        # The frame count may be there already, of a file that was ended and cut again.
        if file.read(writer._offset)[PREAMBLE_BYTES:] != front.getvalue()[PREAMBLE_BYTES:]:
            raise UsageError(f"{file.name}: was begun with another model or version; remove it")
        file.seek(0)
        writer._file = file
        writer._put(pack_preamble(frames=0))
        file.flush()
        with Reader(file) as found:
            writer._entries, writer._offset = found.gops, found.source.size
            writer._codes_bytes, writer._audio_bytes = found.sizes["codes"], found.sizes["audio"]
        writer._origin = 0
        file.seek(writer._offset)
        return writer

    @property
    def frames(self) -> int:
        """Frames written so far."""
        return self._entries[-1].first_frame + self._entries[-1].frames if self._entries else 0

    @property
    def gops(self) -> Sequence[GopEntry]:
        """GOPs written so far."""
        return self._entries

    @property
    def bytes_written(self) -> int:
        """Bytes of the file so far."""
        return self._offset

    @property
    def codes_bytes(self) -> int:
        """Bytes of the GOPs' payloads so far."""
        return self._codes_bytes

    def add_gop(self, gop: Gop) -> None:
        """Append a GOP, which continues the last one: its first frame and, no earlier than its end, its start."""
        end = self._entries[-1].end if self._entries else gop.start
        if gop.first_frame != self.frames or gop.start < end:
            raise UsageError(
                f"GOP of frame {gop.first_frame} at {gop.start} does not continue frame {self.frames} at {end}"
            )
        parts = gop.to_payload()
        entry = GopEntry.of(gop, chunks.Chunk(chunks.GOP, self._offset, sum(map(len, parts))))
        self._add_chunk(chunks.GOP, parts)
        self._entries.append(entry)
        self._codes_bytes += len(gop.payload)

    def add_audio(self, packets: Iterable[AudioPacket]) -> None:
        """Append a batch of packets, in file order; best a few seconds' worth beside the GOP they sound with."""
        begin = self._offset
        for payload in pack_audio(packets, self._streams):
            self._add_chunk(chunks.AUDIO, (payload,))
        self._audio_bytes += self._offset - begin

    def close(self, source_bytes: int | None = None) -> None:
        """Write the index; on a seekable file also the frame count into the preamble. Call once.

        source_bytes: size of the footage that was encoded, None when not known (a pipe).
        """
        copy = self._add_front_copy()
        index = Index(self._entries, self._codes_bytes, self._audio_bytes, source_bytes, copy)
        position = self._offset
        self._add_chunk(chunks.INDEX, (index.to_payload(self._head_end),))
        self._add_chunk(chunks.TAIL, (position.to_bytes(chunks.MOST[chunks.TAIL], "little"),))
        if self._origin is not None:
            try:
                end = self._file.tell()
                self._file.seek(self._origin)
                self._put(pack_preamble(self.frames))
                self._file.seek(end)
            except OSError as error:
                raise FileAccessError(f"cannot write: {error.strerror or error}") from error
        self._closed = True

    def _add_front_copy(self) -> int | None:
        """Repeat the front of the file, where that costs little; the offset of the copy."""
        front = pack_front(self.frames, self._header)
        if COPY_SHARE * (len(front) + chunks.OVERHEAD) > self._offset:
            return None
        position = self._offset
        self._add_chunk(chunks.FRONT, (front,))
        return position

    def _add_chunk(self, kind: str, parts: Sequence[bytes]) -> None:
        if self._closed:
            raise UsageError("the file is already ended by its index")
        crc = 0
        self._write(chunks.prefix(kind, sum(map(len, parts))))
        for part in parts:
            crc = zlib.crc32(part, crc)
            self._write(part)
        self._write(chunks.CRC.pack(crc))

    def _write(self, data: bytes) -> None:
        self._put(data)
        self._offset += len(data)

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                # An unbuffered file may take a part only, a non-blocking one nothing.
                taken = self._file.write(view)
                if not taken:
                    raise FileAccessError("cannot write: the output takes no more bytes")
                view = view[taken:]
        except OSError as error:
            raise FileAccessError(f"cannot write: {error.strerror or error}") from error


def _patch_position(file: BinaryIO) -> int | None:
    """Where the preamble can be overwritten later; None on a pipe, or where every write goes to the end."""
    try:
        if not file.seekable():
            return None
        position = file.tell()
        appends = fcntl.fcntl(file.fileno(), fcntl.F_GETFL) & os.O_APPEND
    except io.UnsupportedOperation:
        return position
    except OSError as error:
        raise FileAccessError(f"cannot write: {error.strerror or error}") from error
    return None if appends else position


PAC_SUFFIX = ".pac"
FOREIGN_SUFFIXES = frozenset(
    {
        *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".vob", ".flv"),
        *(".wmv", ".ogv", ".3gp", ".h264", ".h265", ".hevc", ".264", ".265", ".ivf", ".y4m"),
        *(".gif", ".webp", ".png", ".apng", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"),
        *(".mp3", ".m4a", ".wav", ".pacmodel"),
    }
)
"""Of files that nobody takes a .pac file for."""


def check_pac_target(target: str) -> None:
    """Refuse a name that says that the .pac file to be written is something else, or a file that is something else.

    Raises UsageError for a suffix of videos and pictures, and for an existing file that is neither empty nor a .pac
    file and is not called one.
    """
    path = Path(target)
    suffix = path.suffix.lower()
    if target == STANDARD_STREAM or suffix == PAC_SUFFIX:
        return
    if suffix in FOREIGN_SUFFIXES:
        better = path.with_suffix(PAC_SUFFIX)
        raise UsageError(f"{target}: would be a .pac file in spite of its suffix; call it {better}")
    if path.is_file() and not is_pac(path) and path.stat().st_size:
        raise UsageError(f"{target}: is there, and not a .pac file; give the output a name that ends in {PAC_SUFFIX}")


def is_pac(path: Path) -> bool:
    """Whether a file begins as a .pac file does; FileAccessError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except (OSError, ValueError) as error:
        raise FileAccessError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
