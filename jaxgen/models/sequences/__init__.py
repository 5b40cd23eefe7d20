"""Sequences of symbols: token networks by maximum likelihood, and with critics whose scores are rewards."""

from jaxgen.models.sequences.characters import character_wgan_gp
from jaxgen.models.sequences.conditional import ConditionalSequences
from jaxgen.models.sequences.conditional_gan import ConditionalSequenceGAN

__all__ = ["ConditionalSequenceGAN", "ConditionalSequences", "character_wgan_gp"]
__dir__ = __all__.copy  # tab completion
