"""Translation between two domains."""

from jaxgen.models.translation.adain import AdaIN, adaptive_instance_norm
from jaxgen.models.translation.balance import Balance, Curriculum
from jaxgen.models.translation.classifying_unit import ClassifyingUNIT
from jaxgen.models.translation.cycle_gan import CycleGAN
from jaxgen.models.translation.disco_gan import DiscoGAN
from jaxgen.models.translation.domain import Domain
from jaxgen.models.translation.linear_style import LinearStyle, LinearTransformation
from jaxgen.models.translation.networks import ConditionalCritic, Translator, translated
from jaxgen.models.translation.pix2pix import Pix2Pix
from jaxgen.models.translation.pool import ImagePool
from jaxgen.models.translation.pose import PoseSynthesis
from jaxgen.models.translation.reconstruction import FeatureReconstruction, PixelReconstruction
from jaxgen.models.translation.segmenter import Segmenter
from jaxgen.models.translation.unit import RELEASED_WEIGHTS, UNIT, UNITWeights

__all__ = [
    "AdaIN", "Balance", "ClassifyingUNIT", "ConditionalCritic", "Curriculum", "CycleGAN", "DiscoGAN", "Domain",
    "FeatureReconstruction", "ImagePool", "LinearStyle", "LinearTransformation", "Pix2Pix", "PixelReconstruction",
    "PoseSynthesis", "RELEASED_WEIGHTS", "Segmenter", "Translator", "UNIT", "UNITWeights", "adaptive_instance_norm",
    "translated",
]  # fmt: skip
__dir__ = __all__.copy  # tab completion
