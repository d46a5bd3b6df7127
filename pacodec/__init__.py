"""pacodec: a learned video codec. Train a codec on your own footage, then store the rest of it many times smaller.

    import pacodec

    pacodec.encode("in.mp4", "out.pac")
    with pacodec.open("out.pac") as video:
        print(len(video), video.metadata.ratio, video[-1].shape)
    pacodec.decode("out.pac", "out.mp4")

Names load what they need when first used: `pacodec.info` imports neither torch nor PyAV.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from pacodec.common.frames import Frame as Frame
    from pacodec.common.frames import FrameBatch as FrameBatch
    from pacodec.decoder import Decoder as Decoder
    from pacodec.decoder import Decoder as VideoDecoder
    from pacodec.decoder import Decoder as open  # noqa: N813 (it reads as a function)
    from pacodec.encoder import encode as encode
    from pacodec.errors import PacodecError as PacodecError
    from pacodec.export import DecodeReport as DecodeReport
    from pacodec.export import decode as decode
    from pacodec.folders import BatchItem as BatchItem
    from pacodec.folders import BatchReport as BatchReport
    from pacodec.folders import batch as batch
    from pacodec.metadata import Metadata as Metadata
    from pacodec.metadata import info as info
    from pacodec.reports import EncodeReport as EncodeReport
    from pacodec.stored_arrays import read_arrays as read_arrays
    from pacodec.training.train import TrainReport as TrainReport
    from pacodec.training.train import train as train
    from pacodec.verification import verify as verify
    from pacodec.writer import Writer as Writer

_HOMES = {
    "BatchItem": ("pacodec.folders", "BatchItem"),
    "BatchReport": ("pacodec.folders", "BatchReport"),
    "Decoder": ("pacodec.decoder", "Decoder"),
    "DecodeReport": ("pacodec.export", "DecodeReport"),
    "EncodeReport": ("pacodec.reports", "EncodeReport"),
    "Frame": ("pacodec.common.frames", "Frame"),
    "FrameBatch": ("pacodec.common.frames", "FrameBatch"),
    "Metadata": ("pacodec.metadata", "Metadata"),
    "PacodecError": ("pacodec.errors", "PacodecError"),
    "TrainReport": ("pacodec.training.train", "TrainReport"),
    "Writer": ("pacodec.writer", "Writer"),
    "VideoDecoder": ("pacodec.decoder", "Decoder"),
    "batch": ("pacodec.folders", "batch"),
    "decode": ("pacodec.export", "decode"),
    "encode": ("pacodec.encoder", "encode"),
    "info": ("pacodec.metadata", "info"),
    "open": ("pacodec.decoder", "Decoder"),
    "read_arrays": ("pacodec.stored_arrays", "read_arrays"),
    "train": ("pacodec.training.train", "train"),
    "verify": ("pacodec.verification", "verify"),
}

__all__ = [
    "BatchItem",
    "BatchReport",
    "DecodeReport",
    "Decoder",
    "EncodeReport",
    "Frame",
    "FrameBatch",
    "Metadata",
    "PacodecError",
    "TrainReport",
    "VideoDecoder",
    "Writer",
    "batch",
    "decode",
    "encode",
    "info",
    "open",
    "read_arrays",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value = globals()[name] = getattr(importlib.import_module(module), attribute)
    return value
