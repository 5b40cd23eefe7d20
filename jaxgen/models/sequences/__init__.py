"""Generators of sequences and other discrete data, and the critics that reward them."""

from jaxgen.models.sequences.boundary_seeking import BoundarySeekingGAN, DensityRatioWeights, EqualWeights, Reinforce
from jaxgen.models.sequences.characters import character_wgan_gp
from jaxgen.models.sequences.conditional import ConditionalSequences
from jaxgen.models.sequences.conditional_gan import ConditionalSequenceGAN
from jaxgen.models.sequences.rc_gan import RCGAN, rc_gan
from jaxgen.models.sequences.time_gan import TimeGAN, time_gan

__all__ = [
    "BoundarySeekingGAN", "ConditionalSequenceGAN", "ConditionalSequences", "DensityRatioWeights", "EqualWeights",
    "RCGAN", "Reinforce", "TimeGAN", "character_wgan_gp", "rc_gan", "time_gan",
]  # fmt: skip
__dir__ = __all__.copy  # tab completion
