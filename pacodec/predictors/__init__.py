"""Predictors: ways of turning code grids into bytes, by the name that a file's header carries."""

from collections.abc import Callable

from pacodec.errors import UnsupportedError
from pacodec.predictors.adaptive import AdaptivePredictor
from pacodec.predictors.base import Predictor
from pacodec.predictors.none import NonePredictor

_FACTORIES: dict[str, Callable[[], Predictor]] = {"none": NonePredictor, "adaptive": AdaptivePredictor}
# A predictor with weights does not fit here: whoever has loaded its model builds it with them.

PREDICTORS = tuple(_FACTORIES)
"""The names that `get_predictor` knows."""


def get_predictor(name: str) -> Predictor:
    """The predictor called `name`; UnsupportedError naming the known ones otherwise."""
    if name not in _FACTORIES:
        raise UnsupportedError(f"predictor {name!r} is unknown; this version knows {', '.join(PREDICTORS)}")
    return _FACTORIES[name]()
