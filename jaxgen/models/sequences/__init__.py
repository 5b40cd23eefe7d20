"""Generators of sequences and other discrete data, and the critics that reward them."""

from jaxgen.models.sequences.boundary_seeking import BoundarySeekingGAN, DensityRatioWeights, EqualWeights, Reinforce
from jaxgen.models.sequences.characters import character_wgan_gp

__all__ = [
    "BoundarySeekingGAN", "DensityRatioWeights", "EqualWeights", "Reinforce", "character_wgan_gp",
]  # fmt: skip
__dir__ = __all__.copy  # tab completion
