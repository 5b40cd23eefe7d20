"""The Wasserstein GAN (Arjovsky et al. 2017, arXiv:1701.07875), with clipped weights.

RMSProp at 5e-5, weights clipped to +-0.01 after each critic update, five critic steps a generator step, batches of 64.
`score_gap` is the critic's estimate of the Wasserstein distance up to a factor, which clipping leaves unknown. The
critic has no batch normalisation here.
"""

from dataclasses import dataclass

from experiments.adversarial import AdversarialConfig, experiment, fields, networks
from experiments.config import Experiment
from experiments.run import main
from jaxgen.data import Splits
from jaxgen.models.gans import WGAN, rmsprop
from jaxgen.training.ranges import Count, NonNegative


@dataclass(frozen=True, kw_only=True)
class WGANConfig(AdversarialConfig):
    critic_steps: Count = 5
    learning_rate: NonNegative = 5e-5
    """RMSProp's learning rate, for both players."""
    clip: NonNegative = 0.01
    """The critic's weights are clipped to [-clip, clip]."""


def build(config: WGANConfig, data: Splits) -> Experiment:
    model = WGAN(*networks(config, data, None), **fields(config, data))
    optimizers = {"critic": rmsprop(config.learning_rate, config.clip), "generator": rmsprop(config.learning_rate)}
    return experiment(config, data, model, optimizers)


if __name__ == "__main__":
    main(WGANConfig, build)
