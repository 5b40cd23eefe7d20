"""BEGAN (Berthelot et al. 2017, arXiv:1703.10717): autoencoding critics in equilibrium.

Uniform noise of 64 dimensions, Adam 1e-4, batches of 16, lambda_k 1e-3, gamma between 0.3 and 0.7: the lower, the
better each image and the fewer kinds of them. `convergence` is the paper's M. Networks here are DCGAN's without batch
normalisation, a decoder beside the critic's encoder; the paper's have no strided convolutions.
"""

from dataclasses import dataclass

from experiments.adversarial import AdversarialConfig, adam, experiment, fields, networks
from experiments.gans.autoencoding_critic import decoder
from experiments.shell import Experiment, main
from jaxgen.data import Splits
from jaxgen.distributions import Uniform
from jaxgen.models.gans import BEGAN


@dataclass(frozen=True, kw_only=True)
class BEGANConfig(AdversarialConfig):
    latents: int = 64
    learning_rate: float = 1e-4
    critic_rate: float = 1e-4
    gamma: float = 0.5
    """Energy of samples over that of data."""
    rate: float = 1e-3
    """Of the number that holds the balance."""


def build(config: BEGANConfig, data: Splits) -> Experiment:
    model = BEGAN(
        *networks(config, data, None), **fields(config, data), prior=Uniform((config.latents,)),
        decoder=decoder(config, data), gamma=config.gamma, rate=config.rate,
    )  # fmt: skip
    return experiment(config, data, model, optimizers=adam(config, b1=0.9))


if __name__ == "__main__":
    main(BEGANConfig, build)
