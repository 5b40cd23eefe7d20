"""WGAN-GP on points of the plane (Gulrajani et al. 2017, arXiv:1704.00028, section 5.1 and appendix).

Three layers of 512 units, penalty 0.1, five critic steps a generator step, batches of 256, Adam 1e-4 (0.5, 0.9), 100,000
generator steps. The paper shows pictures; the figures here are the share of samples within 3 sigma of a mode, the modes
that have any such sample, and those that have a quarter of their fair share of them. `score_gap` is the critic's
estimate of the Wasserstein distance.
"""

from dataclasses import dataclass, replace

import optax

from experiments.adversarial import MIXTURES
from experiments.shell import Config, Experiment, main
from jaxgen.data import Splits
from jaxgen.metrics import sample_distances
from jaxgen.models.gans import GradientPenalty, dense_wgan_gp


@dataclass(frozen=True, kw_only=True)
class WGANGPConfig(Config):
    data: str = "twenty_five_gaussians"
    steps: int = 500_000
    """Batches, one for each move of the critic: the generator moves `critic_steps` times less often."""
    batch_size: int = 256
    eval_every: int = 10_000
    eval_batch: int = 10_000
    checkpoint_every: int = 10_000
    log_every: int = 1_000
    width: int = 512
    """Units of each of the three layers."""
    latents: int = 2
    """Dimension of the generator's noise."""
    critic_steps: int = 5
    """Moves of the critic for one of the generator."""
    penalty_weight: float = 0.1
    """Of the gradient penalty."""
    learning_rate: float = 1e-4
    """Of Adam."""


def build(config: WGANGPConfig, data: Splits) -> Experiment:
    adam = optax.adam(config.learning_rate, b1=0.5, b2=0.9)
    model = replace(
        dense_wgan_gp(data.train.event_shape, width=config.width, latent_dim=config.latents),
        terms=(GradientPenalty(config.penalty_weight),), critic_steps=config.critic_steps,
        metrics=MIXTURES.get(config.data, sample_distances),
    )  # fmt: skip
    return Experiment(model, optimizers={"critic": adam, "generator": adam})


if __name__ == "__main__":
    main(WGANGPConfig, build)
