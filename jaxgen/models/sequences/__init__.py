"""Generators of sequences of tokens, trained by maximum likelihood and by critics."""

from jaxgen.models.sequences.objectives import (
    ConstantReward,
    MaliGANObjective,
    Objective,
    PolicyStep,
    RolloutReward,
    shuffled_labels,
    true_labels,
)
from jaxgen.models.sequences.oracle import TokenOracle, load_oracle, random_oracle
from jaxgen.models.sequences.seq_gan import SeqGAN

__all__ = [
    "ConstantReward", "MaliGANObjective", "Objective", "PolicyStep", "RolloutReward", "SeqGAN", "TokenOracle",
    "load_oracle", "random_oracle", "shuffled_labels", "true_labels",
]  # fmt: skip
__dir__ = __all__.copy  # tab completion
