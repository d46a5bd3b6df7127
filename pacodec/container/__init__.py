"""The .pac container, version 1; FORMAT.md specifies it. Imports neither torch nor PyAV."""

from pacodec.container.gop import MAX_PTS, Gop
from pacodec.container.header import Component, Header, ModelRef
from pacodec.container.index import GopEntry
from pacodec.container.losses import Extent, Loss, Survivors
from pacodec.container.parts import sound_until
from pacodec.container.preamble import MAGIC, VERSION
from pacodec.container.reader import Reader
from pacodec.container.stream import StreamReader
from pacodec.container.verify import verify
from pacodec.container.writer import Writer

__all__ = [
    "MAGIC",
    "MAX_PTS",
    "VERSION",
    "Component",
    "Extent",
    "Gop",
    "GopEntry",
    "Header",
    "Loss",
    "ModelRef",
    "Reader",
    "StreamReader",
    "Survivors",
    "Writer",
    "sound_until",
    "verify",
]
