"""Generators of sequences and other discrete data, and the critics that reward them."""

from jaxgen.models.sequences.boundary_seeking import BoundarySeekingGAN
from jaxgen.models.sequences.characters import character_wgan_gp
from jaxgen.models.sequences.conditional import ConditionalSequences
from jaxgen.models.sequences.conditional_gan import ConditionalSequenceGAN
from jaxgen.models.sequences.dialogue import AdversarialDialogue
from jaxgen.models.sequences.mali_gan import MixedMaliGAN
from jaxgen.models.sequences.objectives import (
    MaliGANObjective,
    Objective,
    PolicyGradient,
    shuffled_labels,
    true_labels,
)
from jaxgen.models.sequences.oracle import TokenOracle, lstm_oracle, random_oracle
from jaxgen.models.sequences.rc_gan import RCGAN, rc_gan
from jaxgen.models.sequences.rewards import (
    ConstantReward,
    PolicyStep,
    PrefixReward,
    Reward,
    RolloutReward,
    SequenceReward,
)
from jaxgen.models.sequences.sample_objectives import DensityRatioWeights, EqualWeights, Reinforce
from jaxgen.models.sequences.seq_gan import SeqGAN
from jaxgen.models.sequences.time_gan import TimeGAN
from jaxgen.models.sequences.time_gan_networks import time_gan

__all__ = [
    "AdversarialDialogue", "BoundarySeekingGAN", "ConditionalSequenceGAN", "ConditionalSequences", "ConstantReward",
    "DensityRatioWeights", "EqualWeights", "MaliGANObjective", "MixedMaliGAN", "Objective", "PolicyGradient",
    "PolicyStep", "PrefixReward", "RCGAN", "Reinforce", "Reward", "RolloutReward", "SeqGAN", "SequenceReward",
    "TimeGAN", "TokenOracle", "character_wgan_gp", "lstm_oracle", "random_oracle", "rc_gan", "shuffled_labels",
    "time_gan", "true_labels",
]  # fmt: skip
__dir__ = __all__.copy  # tab completion
