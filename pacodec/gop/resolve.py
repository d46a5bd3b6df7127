"""The parts that a file's header names: its model, and what its GOPs are decoded with."""

from pacodec.container import Header, Reader, StreamReader
from pacodec.engine import Segment
from pacodec.errors import CorruptFileError
from pacodec.gop.priors import Decoders, GopDecoders
from pacodec.models import library
from pacodec.models.files import ModelFile
from pacodec.transforms.base import PICTURE


def model_of(header: Header, embedded: bytes | None, given: str | None = None) -> ModelFile | None:
    """The model that a header names: the one `given` (a name or path), the one the file carries, or one installed.

    Raises ModelError when it is missing or another, CorruptFileError when the file carries a broken one.
    """
    if header.model is None:
        return None
    if embedded is not None and given is None:
        model = ModelFile.parse(embedded, header.model.name, "the embedded model")
        if model.sha256 != header.model.sha256:
            raise CorruptFileError("the embedded model is not the one the header names")
        return model
    return library.find_by_hash(header.model.sha256, header.model.name, given)


def decoders_of(reader: Reader | StreamReader, model: ModelFile | None) -> Decoders:
    """What the GOPs of an open file are decoded with; `model` is the one that its header names.

    CorruptFileError where the file's reference is lost, or a base layer is not described as it should be.
    """
    if reader.header.transform.name == PICTURE:
        from pacodec.base_layer.decoding import PacketDecoders

        return PacketDecoders(reader.header)
    info, parts = reader.header.reference, reader.reference()
    frames = [] if info is None else [frames for frames, _ in info.segments]
    segments = [Segment(count, data) for count, data in zip(frames, parts, strict=True)]
    return GopDecoders(reader.header.grid, model, segments)
