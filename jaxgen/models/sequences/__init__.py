"""Generators of sequences and other discrete data, and the critics that reward them."""

from jaxgen.models.sequences.boundary_seeking import (
    BoundarySeekingGAN,
    DensityRatioWeights,
    EqualWeights,
    Reinforce,
)

__all__ = ["BoundarySeekingGAN", "DensityRatioWeights", "EqualWeights", "Reinforce"]
__dir__ = __all__.copy  # tab completion
