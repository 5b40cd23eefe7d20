"""Translation between two domains."""

from jaxgen.models.translation.domain import Domain
from jaxgen.models.translation.unit import RELEASED_WEIGHTS, UNIT, UNITWeights

__all__ = ["Domain", "RELEASED_WEIGHTS", "UNIT", "UNITWeights"]
__dir__ = __all__.copy  # tab completion
