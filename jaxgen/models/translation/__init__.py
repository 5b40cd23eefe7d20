"""Translation between two domains."""

from jaxgen.models.translation.cycle_gan import CycleGAN
from jaxgen.models.translation.domain import Domain
from jaxgen.models.translation.pool import ImagePool

__all__ = ["CycleGAN", "Domain", "ImagePool"]
__dir__ = __all__.copy  # tab completion
