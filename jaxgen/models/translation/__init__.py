"""Translation between two domains."""

from jaxgen.models.translation.domain import Domain
from jaxgen.models.translation.pool import ImagePool

__all__ = ["Domain", "ImagePool"]
__dir__ = __all__.copy  # tab completion
