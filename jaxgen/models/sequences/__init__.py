"""Models of sequences of symbols."""

from jaxgen.models.sequences.characters import character_wgan_gp

__all__ = ["character_wgan_gp"]
__dir__ = __all__.copy  # tab completion
