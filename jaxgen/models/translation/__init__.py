"""Translation between two domains."""

from jaxgen.models.translation.domain import Domain

__all__ = ["Domain"]
__dir__ = __all__.copy  # tab completion
