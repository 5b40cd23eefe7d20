"""Translation between two domains."""

from jaxgen.models.translation.adain import AdaIN, adaptive_instance_norm
from jaxgen.models.translation.domain import Domain
from jaxgen.models.translation.linear_style import LinearStyle, LinearTransformation
from jaxgen.models.translation.pool import ImagePool

__all__ = ["AdaIN", "Domain", "ImagePool", "LinearStyle", "LinearTransformation", "adaptive_instance_norm"]
__dir__ = __all__.copy  # tab completion
