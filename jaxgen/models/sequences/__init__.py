"""Sequences of symbols: token networks by maximum likelihood, and with critics whose scores are rewards."""

from jaxgen.models.sequences.characters import character_wgan_gp
from jaxgen.models.sequences.conditional import ConditionalSequences
from jaxgen.models.sequences.conditional_gan import ConditionalSequenceGAN
from jaxgen.models.sequences.dialogue import AdversarialDialogue
from jaxgen.models.sequences.rewards import ConstantReward, PrefixReward, RolloutReward, SequenceReward

__all__ = [
    "AdversarialDialogue", "ConditionalSequenceGAN", "ConditionalSequences", "ConstantReward", "PrefixReward",
    "RolloutReward", "SequenceReward", "character_wgan_gp",
]  # fmt: skip
__dir__ = __all__.copy  # tab completion
