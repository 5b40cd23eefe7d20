"""BEGAN (Berthelot et al. 2017, arXiv:1703.10717): autoencoding critics in equilibrium.

Result: Frechet distance 553.1 on MNIST after 500 steps, five minutes on two cores, by `python -m
experiments.studies.gans`.

Uniform noise of 64 dimensions, Adam at 1e-4, batches of 16, lambda_k 1e-3, gamma between 0.3 and 0.7: lower values
give better images with less diversity. `convergence` is the paper's M. The networks are DCGAN's without batch
normalisation, and a decoder for the critic; the paper's have no strided convolutions.
"""

from dataclasses import dataclass

from experiments.adversarial import AdversarialConfig, experiment, fields, networks
from experiments.config import Experiment
from experiments.gans.autoencoding_critic import decoder
from experiments.run import main
from jaxgen.data import Splits
from jaxgen.distributions import Uniform
from jaxgen.models.gans import BEGAN
from jaxgen.training.ranges import Count, Fraction, NonNegative


@dataclass(frozen=True, kw_only=True)
class BEGANConfig(AdversarialConfig):
    latents: Count = 64
    learning_rate: NonNegative = 1e-4
    critic_rate: NonNegative = 1e-4
    b1: Fraction = 0.9
    gamma: NonNegative = 0.5
    """Target ratio of the energies of samples and data."""
    rate: NonNegative = 1e-3
    """Learning rate of the equilibrium variable k."""


def build(config: BEGANConfig, data: Splits) -> Experiment:
    model = BEGAN(
        *networks(config, data, None), **fields(config, data), prior=Uniform((config.latents,)),
        decoder=decoder(config, data), gamma=config.gamma, rate=config.rate,
    )  # fmt: skip
    return experiment(config, data, model)


if __name__ == "__main__":
    main(BEGANConfig, build)
