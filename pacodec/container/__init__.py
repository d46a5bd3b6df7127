"""The .pac container, version 2; FORMAT.md specifies it. Imports neither torch nor PyAV nor the C core."""

from pacodec.container.front import describe_reference
from pacodec.container.gop import ENGINE, MAX_PTS, Gop
from pacodec.container.header import MAGIC, VERSION, Component, Header, ModelRef, ReferenceInfo
from pacodec.container.index import GopEntry
from pacodec.container.reader import Reader, StreamReader, verify
from pacodec.container.recovery import Extent, Loss, Survivors, sound_until
from pacodec.container.writer import Writer

__all__ = [
    "ENGINE",
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
    "ReferenceInfo",
    "StreamReader",
    "Survivors",
    "Writer",
    "describe_reference",
    "sound_until",
    "verify",
]
