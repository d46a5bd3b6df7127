"""The parts that a file's header names: its model, its coder, its predictor."""

from pacodec import models
from pacodec.container import Header
from pacodec.errors import CorruptFileError
from pacodec.predictors import get_predictor
from pacodec.predictors.base import Predictor
from pacodec.predictors.learned import LearnedPredictor
from pacodec.weights import ModelFile


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
    return models.find_by_hash(header.model.sha256, header.model.name, given)


def predictor_of(header: Header, embedded: bytes | None, given: str | None = None) -> Predictor:
    """The predictor that a header names; a model is looked for (see `model_of`) only where that one has weights."""
    name = header.predictor.name
    return get_predictor(name, model_of(header, embedded, given) if name == LearnedPredictor.name else None)
