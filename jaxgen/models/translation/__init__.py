"""Translation between two domains."""

from jaxgen.models.translation.balance import Balance, Curriculum
from jaxgen.models.translation.disco_gan import DiscoGAN
from jaxgen.models.translation.domain import Domain
from jaxgen.models.translation.pool import ImagePool

__all__ = ["Balance", "Curriculum", "DiscoGAN", "Domain", "ImagePool"]
__dir__ = __all__.copy  # tab completion
