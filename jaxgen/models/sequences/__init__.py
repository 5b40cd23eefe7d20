"""Sequences: token networks by maximum likelihood, and with critics whose scores are rewards."""

from jaxgen.models.sequences.conditional import ConditionalSequences
from jaxgen.models.sequences.conditional_gan import ConditionalSequenceGAN

__all__ = ["ConditionalSequenceGAN", "ConditionalSequences"]
__dir__ = __all__.copy  # tab completion
