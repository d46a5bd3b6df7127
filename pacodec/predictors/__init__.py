"""Predictors: ways of turning code grids into bytes, by the name that a file's header carries."""

from collections.abc import Callable

from pacodec.errors import ModelError, UnsupportedError
from pacodec.predictors.adaptive import AdaptivePredictor
from pacodec.predictors.base import Predictor
from pacodec.predictors.learned import LearnedPredictor
from pacodec.predictors.none import NonePredictor
from pacodec.weights import ModelFile

_FACTORIES: dict[str, Callable[[], Predictor]] = {"none": NonePredictor, "adaptive": AdaptivePredictor}

PREDICTORS = (*_FACTORIES, LearnedPredictor.name)
"""The names that `get_predictor` knows."""


def get_predictor(name: str, model: ModelFile | None = None) -> Predictor:
    """The predictor called `name`, with the weights of `model` where it has any.

    Raises UnsupportedError naming the known ones, ModelError where the model is missing or of another kind,
    CorruptFileError for a malformed one.
    """
    if name == LearnedPredictor.name:
        if model is None:
            raise ModelError(f"the predictor {name} needs a model")
        return LearnedPredictor.from_model(model)
    if name not in _FACTORIES:
        raise UnsupportedError(f"predictor {name!r} is unknown; this version knows {', '.join(PREDICTORS)}")
    return _FACTORIES[name]()
