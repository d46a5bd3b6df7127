"""What a header names, its model and what its GOPs are decoded with; and what the engine knows before each GOP."""

from collections.abc import Sequence
from typing import Protocol
from weakref import WeakValueDictionary

import numpy as np
import zstandard

from pacodec import limits
from pacodec.common.locks import ForkSafeLock
from pacodec.common.media import Grids, GridSpec
from pacodec.container import ENGINE, Gop, Reader, StreamReader
from pacodec.engine import (
    BlockCosts,
    DifferencesDecoder,
    DifferencesEncoder,
    GridDecoder,
    Prior,
    Recording,
    Segment,
    SegmentDecoder,
    State,
    block_count,
    differences_memory,
    state_bytes,
)
from pacodec.engine.prior import prior_of
from pacodec.errors import CorruptFileError, ModelError, UnsupportedError
from pacodec.models import library
from pacodec.models.files import ModelFile
from pacodec.models.recording import model_recording
from pacodec.transforms.base import PICTURE

NONE, REFERENCE = "none", "reference"
"""Coders of a GOP beside the engine: zstd of differences; the grids of a segment of the file's reference."""
SEGMENT = "segment"
"""The parameter of the coder `reference`."""
_FAST = 1
"""zstd's level for grids of the reference that are kept in memory."""


_priors: "WeakValueDictionary[tuple[bytes, GridSpec], Prior]" = WeakValueDictionary()
_making = ForkSafeLock()


def model_prior(model: ModelFile | None, spec: GridSpec) -> Prior:
    """What the engine knows before the GOPs of a file with this model: its reference, where that is of the same size.

    All that use it at one time share it. CorruptFileError where the reference is damaged, LimitError where a state
    takes more memory than is allowed.
    """
    key = b"" if model is None else model.sha256, spec
    with _making:
        prior = _priors.get(key)
        if prior is None:
            prior = _priors[key] = _made_prior(model, spec)
        return prior


def _made_prior(model: ModelFile | None, spec: GridSpec) -> Prior:
    recording = None if model is None or spec.ordinal else model_recording(model)
    if recording is None or (recording.spec.height, recording.spec.width) != (spec.height, spec.width):
        return Prior(State.fresh(spec))
    return prior_of(recording, spec)


class Decoders(Protocol):
    """Makes the decoders of a file's GOPs."""

    @property
    def spec(self) -> GridSpec:
        """The shape of the decoded grids."""

    @property
    def memory(self) -> int:
        """Bytes that a decoder takes, about; LimitError where grids are too large for any."""

    def prepare(self) -> None:
        """Make what all GOPs begin from, which is otherwise made for the first of them."""

    def decoder(self, gop: Gop) -> GridDecoder:
        """A decoder of a GOP, by its coder; UnsupportedError for an unknown one, CorruptFileError for wrong fields."""


class GopDecoders:
    """Makes decoders of GOPs. What the model and the file's reference tell is replayed when first needed.

    Safe to share between threads.
    """

    def __init__(
        self,
        spec: GridSpec,
        model: ModelFile | None = None,
        reference: Sequence[Segment] = (),
        *,
        keep_costs: bool = False,
    ) -> None:
        """With `keep_costs`, decoders of what the engine coded tell what each grid took."""
        self.spec, self._model, self._reference = spec, model, reference
        self._lock = ForkSafeLock()
        self._prior: Prior | None = None
        self._stored: list[bytes] = []
        self._keep_costs = keep_costs
        self._costs: list[list[bytes]] = []

    @property
    def memory(self) -> int:
        """Bytes that a decoder takes, about; LimitError where the engine does not take such grids."""
        return max(state_bytes(self.spec), differences_memory(self.spec))

    def check(self) -> int:
        """The memory that a decoder takes; LimitError where that is more than is allowed."""
        spec = self.spec
        limits.check_memory(f"decoding grids of {spec.channels}x{spec.height}x{spec.width}", self.memory)
        return self.memory

    def decoder(self, gop: Gop) -> GridDecoder:
        """A decoder of a GOP, by its coder; UnsupportedError for an unknown one, CorruptFileError for wrong fields."""
        self.check()
        if gop.coder.name == ENGINE:
            return _EngineDecoder(self.prior(), gop.payload, self._keep_costs)
        if gop.coder.name == NONE:
            return DifferencesDecoder(self.spec, gop.payload)
        if gop.coder.name == REFERENCE:
            return self._of_reference(gop)
        known = ", ".join((ENGINE, NONE, REFERENCE))
        raise UnsupportedError(f"the coder {gop.coder.name!r} is unknown; this version knows {known}")

    def prepare(self) -> None:
        """Replay the model and the file's reference."""
        self.prior()

    def prior(self) -> Prior:
        """What the engine knows before a GOP."""
        with self._lock:
            if self._prior is None:
                base = model_prior(self._model, self.spec)
                self._prior = self._replayed(base) if self._reference else base
            return self._prior

    def _replayed(self, base: Prior) -> Prior:
        """What is known after the file's reference, whose grids are kept for the GOPs that are the same."""
        state, stored = base.copy(), []
        self._costs = []
        for segment in self._reference:
            keeper = DifferencesEncoder(self.spec, _FAST)
            costs = list[bytes]()
            self._costs.append(costs)
            keep = (lambda more, costs=costs: costs.append(_packed(more))) if self._keep_costs else None
            for grids in Recording(self.spec, [segment]).grids(state, keep):
                keeper.push(grids)
            stored.append(keeper.finish())
        self._stored = stored
        return Prior(state)

    def _of_reference(self, gop: Gop) -> GridDecoder:
        number = gop.coder.params.get(SEGMENT)
        if type(number) is not int or not 0 <= number < len(self._reference):
            raise CorruptFileError(f"a GOP is segment {number!r} of the reference, which has {len(self._reference)}")
        if self._reference[number].frames != gop.coded_frames or gop.payload:
            raise CorruptFileError("a GOP does not fit its segment of the reference")
        self.prior()
        decoder = DifferencesDecoder(self.spec, self._stored[number])
        return _CostedDecoder(decoder, self._costs[number], block_count(self.spec)) if self._keep_costs else decoder


def _packed(costs: BlockCosts) -> bytes:
    return zstandard.ZstdCompressor(_FAST).compress(costs.data)


class _CostedDecoder:
    """A decoder beside what its grids once took, packed in parts."""

    def __init__(self, decoder: GridDecoder, parts: Sequence[bytes], blocks: int) -> None:
        self._decoder, self._parts, self._blocks = decoder, iter(parts), blocks
        self._left: BlockCosts | None = None
        self.costs: BlockCosts | None = None

    def pull(self, n: int) -> Grids:
        """The next n grids, uint8 [n, C, h, w]."""
        grids = self._decoder.pull(n)
        while self._left is None or len(self._left) < n:
            data = zstandard.ZstdDecompressor().decompress(next(self._parts))
            more = np.frombuffer(data, np.uint32).reshape(-1, self._blocks + 1)
            self._left = more if self._left is None else np.concatenate([self._left, more])
        self.costs, self._left = self._left[:n], self._left[n:]
        return grids

    def finish(self) -> None:
        """Check that nothing follows."""
        self._decoder.finish()


class _EngineDecoder:
    """A segment that begins from a prior, whose state's memory is given back after the last grid."""

    def __init__(self, prior: Prior, payload: bytes, keep_costs: bool) -> None:
        self._prior, self._state = prior, prior.copy()
        self._decoder = SegmentDecoder(self._state, payload, keep_costs=keep_costs)

    @property
    def costs(self) -> BlockCosts | None:
        """What each grid of the last `pull` took, where that is kept."""
        return self._decoder.costs

    def pull(self, n: int) -> Grids:
        return self._decoder.pull(n)

    def finish(self) -> None:
        self._decoder.finish()
        self._prior.give_back(self._state)


def model_of(reader: Reader | StreamReader, given: str | None = None) -> ModelFile | None:
    """The model that a header names: the one `given` (a name or path), the one the file carries, or one installed.

    One that the file carries and that is damaged is looked for among the installed ones. Raises ModelError when it is
    missing or another, CorruptFileError when the file carries a broken one and it is not installed either.
    """
    header = reader.header
    if header.model is None:
        return None
    if given is not None:
        return library.find_by_hash(header.model.sha256, header.model.name, given)
    embedded = reader.model_bytes()
    if embedded is not None:
        model = ModelFile.parse(embedded, header.model.name, "the embedded model")
        if model.sha256 != header.model.sha256:
            raise CorruptFileError("the embedded model is not the one the header names")
        return model
    try:
        return library.find_by_hash(header.model.sha256, header.model.name)
    except ModelError as error:
        if not reader.damage:
            raise
        raise CorruptFileError(f"{reader.damage[0]}, and {error}") from error


def decoders_of(reader: Reader | StreamReader, model: ModelFile | None, *, keep_costs: bool = False) -> Decoders:
    """What the GOPs of an open file are decoded with; `model` is the one that its header names.

    CorruptFileError where the file's reference is lost, or a base layer is not described as it should be; LimitError
    where the file declares more pixels than are decoded of one.
    """
    video, grid = reader.header.video, reader.header.grid
    limits.check_pixels(reader.declared, video.width, video.height)
    if isinstance(reader, Reader):  # else it looks as it goes
        pixels = max(video.width * video.height, grid.size)
        limits.check_coded_pixels(reader.coded_frames, pixels, reader.source.size)
    if reader.header.transform.name == PICTURE:
        from pacodec.base_layer.decoding import PacketDecoders

        return PacketDecoders(reader.header)
    info, parts = reader.header.reference, reader.reference()
    frames = [] if info is None else [frames for frames, _ in info.segments]
    segments = [Segment(count, data) for count, data in zip(frames, parts, strict=True)]
    return GopDecoders(grid, model, segments, keep_costs=keep_costs)
