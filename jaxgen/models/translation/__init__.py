"""Translation between two domains."""

from jaxgen.models.translation.classifying_unit import ClassifyingUNIT
from jaxgen.models.translation.cycle_gan import CycleGAN
from jaxgen.models.translation.domain import Domain
from jaxgen.models.translation.networks import ConditionalCritic, Translator, translated
from jaxgen.models.translation.pix2pix import Pix2Pix
from jaxgen.models.translation.pool import ImagePool
from jaxgen.models.translation.segmenter import Segmenter
from jaxgen.models.translation.unit import RELEASED_WEIGHTS, UNIT, UNITWeights

__all__ = [
    "ClassifyingUNIT", "ConditionalCritic", "CycleGAN", "Domain", "ImagePool", "Pix2Pix", "RELEASED_WEIGHTS",
    "Segmenter", "Translator", "UNIT", "UNITWeights", "translated",
]  # fmt: skip
__dir__ = __all__.copy  # tab completion
