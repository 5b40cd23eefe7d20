"""Translation between two domains."""

from jaxgen.models.translation.balance import Balance, Curriculum
from jaxgen.models.translation.disco_gan import DiscoGAN
from jaxgen.models.translation.domain import Domain

__all__ = ["Balance", "Curriculum", "DiscoGAN", "Domain"]
__dir__ = __all__.copy  # tab completion
