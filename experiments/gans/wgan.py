"""The Wasserstein GAN (Arjovsky et al. 2017, arXiv:1701.07875), with clipped weights.

RMSProp 5e-5, weights within +-0.01 after each move of the critic, five of them for one of the generator, batches of 64.
`score_gap` is the critic's estimate of the Wasserstein distance up to a factor, which clipping leaves unknown. The
critic has no batch normalisation here.
"""

from dataclasses import dataclass

import optax

from experiments.adversarial import AdversarialConfig, experiment, fields, networks
from experiments.config import Experiment
from experiments.run import main
from jaxgen.data import Splits
from jaxgen.losses.clipping import clip_weights
from jaxgen.models.gans import GAN, Wasserstein
from jaxgen.training.ranges import Count, NonNegative


@dataclass(frozen=True, kw_only=True)
class WGANConfig(AdversarialConfig):
    critic_steps: Count = 5
    learning_rate: NonNegative = 5e-5
    """RMSProp's learning rate, for both players."""
    clip: NonNegative = 0.01
    """The critic's weights are clipped to [-clip, clip]."""


def build(config: WGANConfig, data: Splits) -> Experiment:
    model = GAN(*networks(config, data, None), **fields(config, data), criterion=Wasserstein())
    rmsprop = optax.rmsprop(config.learning_rate, decay=0.99)
    optimizers = {"critic": optax.chain(rmsprop, clip_weights(config.clip)), "generator": rmsprop}
    return experiment(config, data, model, optimizers)


if __name__ == "__main__":
    main(WGANConfig, build)
