"""The learned predictor: a network trained on footage of the kind foresees the codes, and only surprises are stored.

Payload: one byte, the model's screen that the first grid is predicted from, or 255 where it follows as in `adaptive`:
uint32 (little-endian) size of a zstd frame and that frame. Then the range coder's words for all other grids. A first
byte of 254 or 253 means that the rest is a payload of `none` or `adaptive`: the model does not know this footage.
"""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pacodec import limits
from pacodec.entropy import RangeDecoder, RangeEncoder, SymbolCoder
from pacodec.errors import CorruptFileError, ModelError
from pacodec.grids import Grids, GridSpec
from pacodec.naming import naming
from pacodec.predictors.adaptive import AdaptivePredictor
from pacodec.predictors.base import GridDecoder, GridEncoder, Predictor, check_grid
from pacodec.predictors.choice import Choice
from pacodec.predictors.foresight import Foresight
from pacodec.predictors.hedge import HedgedEncoder
from pacodec.predictors.network import Geometry, IntegerNetwork
from pacodec.predictors.nominal import NominalModel
from pacodec.predictors.none import NonePredictor
from pacodec.predictors.past import Codes
from pacodec.predictors.squeezed import BoundedReader, pack_first, unpack_first
from pacodec.weights import ModelFile

PREDICTIVE = "predictive"
"""Of the models that hold a palette and a network to predict its codes."""
_NO_SCREEN = 255
_OTHERS: dict[int, Predictor] = {254: NonePredictor(), 253: AdaptivePredictor()}
"""By first byte: what codes a GOP that the model does not know."""
MAX_SCREENS = 253
_WORTH = 3
"""A screen is worth starting from where it differs from a first grid in at most one pixel of three."""


class LearnedPredictor:
    """A model's network and the screens it knows."""

    name = "learned"

    def __init__(self, network: IntegerNetwork, screens: NDArray[np.uint8], origin: bytes | None = None) -> None:
        """`screens`: uint8 [S, h, w], S <= `MAX_SCREENS`, of use where the grid has their size; `origin`: the model
        file of both.
        """
        self.network, self.screens, self.origin = network, screens, origin
        geometry = network.geometry
        self.looks_back = max(geometry.history, geometry.hold, len(geometry.radii) - 2)

    @classmethod
    def from_model(cls, model: ModelFile) -> Self:
        """Of a model file, which is untrusted; ModelError for another architecture, CorruptFileError if malformed."""
        if model.info.arch != PREDICTIVE:
            raise ModelError(f"{model.name}: a model of architecture {model.info.arch} predicts no codes")
        arrays, hyperparameters = model.arrays(), model.info.hyperparameters
        with naming(model.name):
            network = IntegerNetwork(arrays, Geometry.from_hyperparameters(hyperparameters))
            screens = _screens(arrays.get("screens"), hyperparameters.get("screens"))
            return cls(network, screens, model.data)

    def knows(self, spec: GridSpec, screen: int) -> bool:
        """Whether there is a screen of that number for such grids."""
        return screen < len(self.screens) and self.screens.shape[1:] == (spec.height, spec.width)

    def nearest_screen(self, grid: Codes, choice: Choice | None = None) -> int:
        """Number of the screen most like a grid, uint8 [h, w], or 255 where none is worth starting from."""
        if not len(self.screens) or self.screens.shape[1:] != grid.shape:
            return _NO_SCREEN
        wanted = np.broadcast_to(grid, self.screens.shape)
        burden = self.screens != grid if choice is None else choice.burden(wanted, self.screens)
        nearest = int(burden.sum((1, 2)).argmin())
        screen = self.screens[nearest]
        differing = screen != grid if choice is None else choice.matters(grid, screen)
        return nearest if int(differing.sum()) * _WORTH <= grid.size else _NO_SCREEN

    def start(self, spec: GridSpec, screen: int) -> Codes:
        """A screen as a grid, uint8 [C, h, w]: further channels are zero."""
        grid = np.zeros((spec.channels, spec.height, spec.width), np.uint8)
        grid[0] = self.screens[screen]
        return grid

    def memory(self, spec: GridSpec) -> int:
        """See `Predictor.memory`."""
        others = NominalModel.memory(spec) if spec.channels > 1 else 0
        return Foresight.memory(self.network.geometry, spec.height, spec.width) + others + self.screens.nbytes

    def encoder(self, spec: GridSpec, costs: NDArray[np.float64] | None = None) -> GridEncoder:
        """A fresh encoder of one GOP."""
        check_grid(self, spec)
        encoder = _Encoder(self, spec, None if costs is None else Choice(costs))
        return HedgedEncoder(encoder, _OTHERS, spec)

    def decoder(self, spec: GridSpec, payload: bytes) -> GridDecoder:
        """A fresh decoder of one GOP's payload."""
        other = _OTHERS.get(payload[0]) if payload else None
        if other:
            return other.decoder(spec, payload[1:])
        check_grid(self, spec)
        return _Decoder(self, spec, payload)


def _screens(packed: NDArray[Any] | None, shape: object) -> NDArray[np.uint8]:
    """uint8 [S, h, w] of a model's zstd frame and what its hyperparameters say of the shape."""
    if packed is None:
        return np.empty((0, 0, 0), np.uint8)
    if not isinstance(shape, list) or len(shape) != 3 or not all(type(n) is int and n > 0 for n in shape):
        raise CorruptFileError(f"the shape of the model's screens is {shape!r}")
    count, height, width = shape
    limits.check("the number of the model's screens", count, MAX_SCREENS)
    limits.check("the size of the model's screens", count * height * width, limits.MAX_SCREENS_BYTES)
    if packed.dtype != np.uint8 or packed.ndim != 1:
        raise CorruptFileError("the model's screens are no bytes")
    reader = BoundedReader(packed.tobytes())
    screens = np.frombuffer(reader.read(count * height * width), np.uint8).reshape(count, height, width)
    reader.finish()
    return screens


class _Model:
    """The first channel as the network foresees it, further ones (which hang on it) in adaptive contexts."""

    def __init__(self, predictor: LearnedPredictor, spec: GridSpec, first: Codes) -> None:
        """`first`: uint8 [C, h, w]."""
        self._foresight = Foresight(predictor.network, first[0])
        self._others = NominalModel(spec, first, given=1) if spec.channels > 1 else None

    def code(self, coder: SymbolCoder, truth: Codes | None, choice: Choice | None = None) -> Codes:
        leading = self._foresight.code(coder, None if truth is None else truth[0], choice)[None]
        return leading if self._others is None else self._others.code(coder, truth, leading)


class _Encoder:
    def __init__(self, predictor: LearnedPredictor, spec: GridSpec, choice: Choice | None) -> None:
        self._predictor, self._spec, self._choice = predictor, spec, choice
        self._coder = RangeEncoder()
        self._head = b""
        self._model: _Model | None = None

    def push(self, grids: Grids) -> Grids:
        coded = grids.copy()
        for grid in coded:
            if self._model is None:
                screen = self._predictor.nearest_screen(grid[0], self._choice)
                self._head = bytes([screen])
                if screen == _NO_SCREEN:
                    self._head += pack_first(grid)
                    self._model = _Model(self._predictor, self._spec, grid)
                    continue
                self._model = _Model(self._predictor, self._spec, self._predictor.start(self._spec, screen))
            grid[...] = self._model.code(self._coder, grid, self._choice)
        return coded

    @property
    def bits(self) -> int:
        return self._coder.bits_written

    def finish(self) -> bytes:
        return self._head + self._coder.finish() if self._head else b""


class _Decoder:
    def __init__(self, predictor: LearnedPredictor, spec: GridSpec, payload: bytes) -> None:
        self._predictor, self._spec, self._payload = predictor, spec, payload
        self._coder: RangeDecoder | None = None
        self._model: _Model

    def pull(self, n: int) -> Grids:
        spec = self._spec
        grids = np.empty((n, spec.channels, spec.height, spec.width), np.uint8)
        for grid in grids:
            if self._coder is None:
                screen = self._begin()
                start, self._coder = self._start(screen)
                self._model = _Model(self._predictor, spec, start)
                if screen == _NO_SCREEN:
                    grid[...] = start
                    continue
            grid[...] = self._model.code(self._coder, None)
        return grids

    def finish(self) -> None:
        if self._coder is not None:
            self._coder.finish()
        elif self._payload:
            raise CorruptFileError("the payload of learned codes holds grids that nobody asked for")

    def _begin(self) -> int:
        if not self._payload:
            raise CorruptFileError("the payload of learned codes is empty")
        screen = self._payload[0]
        if screen != _NO_SCREEN and not self._predictor.knows(self._spec, screen):
            raise CorruptFileError(f"the payload of learned codes begins with screen {screen}, which the model lacks")
        return screen

    def _start(self, screen: int) -> tuple[Codes, RangeDecoder]:
        """The grid that the first one follows, or the first itself, uint8 [C, h, w]; and the coder of all the rest."""
        spec = self._spec
        if screen != _NO_SCREEN:
            return self._predictor.start(spec, screen), RangeDecoder(self._payload[1:])
        first, words = unpack_first(self._payload[1:], spec, LearnedPredictor.name)
        return first, RangeDecoder(words)
