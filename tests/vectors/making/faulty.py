"""Files that readers must refuse, or report as damaged: one for each rule that can be broken."""

from collections.abc import Mapping

from vectors.making import faulty_codes, faulty_front, faulty_gops, faulty_models
from vectors.making.tampering import Fault

FAULTS: Mapping[str, Fault] = {
    **faulty_front.FRONT,
    **faulty_gops.GOPS,
    **faulty_gops.AUDIO,
    **faulty_codes.CODES,
    **faulty_codes.PICTURES,
    **faulty_models.MODELS,
}
