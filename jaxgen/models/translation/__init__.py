"""Translation between two domains."""

from jaxgen.models.translation.domain import Domain
from jaxgen.models.translation.pool import ImagePool
from jaxgen.models.translation.pose import FeatureReconstruction, PixelReconstruction, PoseSynthesis

__all__ = ["Domain", "FeatureReconstruction", "ImagePool", "PixelReconstruction", "PoseSynthesis"]
__dir__ = __all__.copy  # tab completion
