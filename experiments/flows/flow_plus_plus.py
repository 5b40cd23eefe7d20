"""Flow++ (Ho et al. 2019, arXiv:1902.00275), table 1: 3.08 bits/dim on CIFAR-10; 3.29 with uniform dequantization.

Mixture-of-logistics couplings with gated convolutions and self-attention, and noise from a learned flow. The defaults
are those of a first run on 8x8 digits; the paper's on CIFAR-10 are `--width 96 --blocks 10 --components 32 --heads 4
--dropout 0.2 --batch-size 64`, Adam at 3e-4 after a warm-up of 2,000 steps, and weeks on eight GPUs.
"""

from dataclasses import dataclass, replace
from typing import Literal

from experiments.likelihood import LikelihoodConfig, experiment, image_shape
from experiments.config import Experiment, Published
from experiments.run import main
from jaxgen.data import Splits
from jaxgen.distributions import UniformDequantization
from jaxgen.models.flows.flow_plus_plus import flow_plus_plus
from jaxgen.training.ranges import Count, Fraction, Natural, NonNegative

PUBLISHED = {"tfds:cifar10": Published("bits_per_dim", 3.08, "Ho et al. 2019, table 1")}


@dataclass(frozen=True, kw_only=True)
class FlowPlusPlusConfig(LikelihoodConfig):
    width: Count = 16
    """Channels of a coupling's network."""
    blocks: Natural = 1
    """Residual blocks of a coupling's network."""
    components: Count = 4
    """Components of each mixture of logistics."""
    heads: Natural = 4
    """Heads of the self-attention; 0: no attention."""
    dropout: Fraction = 0.0
    """Dropout rate of the blocks' hidden units."""
    dequantization: Literal["variational", "uniform"] = "variational"
    """Noise within a grey level: a learned flow, or uniform."""
    alpha: NonNegative = 0.05
    """Pixels x in [0, 1] enter the logit as alpha + (1 - 2 alpha) x."""
    learning_rate: NonNegative = 2e-3


def build(config: FlowPlusPlusConfig, data: Splits) -> Experiment:
    event_shape, levels = image_shape(config, data)
    model = flow_plus_plus(
        event_shape, num_levels=levels, width=config.width, blocks=config.blocks, components=config.components,
        heads=config.heads, dropout=config.dropout, alpha=config.alpha,
    )
    if config.dequantization == "uniform":
        model = replace(model, dequantization=UniformDequantization(levels))
    return experiment(config, data, model)


if __name__ == "__main__":
    main(FlowPlusPlusConfig, build, PUBLISHED)
