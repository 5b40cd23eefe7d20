"""Wasserstein GAN with gradient penalty (Gulrajani et al. 2017, arXiv:1704.00028).

On points of the plane: the paper's three layers of 512 units, penalty 0.1, five critic steps a generator step, batches
of 256, Adam 1e-4 (0.5, 0.9). On images: its residual networks, penalty 10, batches of 64. The paper reports an Inception
score of 7.86 on CIFAR-10; on the 25 Gaussians it shows pictures, so the figures here are modes and share within 3 sigma.
"""

from dataclasses import dataclass
from functools import partial

import optax

from experiments.shell import Config, Experiment, main
from jaxgen.contracts import every
from jaxgen.data import Splits, toys
from jaxgen.metrics.modes import mixture_figures
from jaxgen.models.gans.wgan_gp import conv_wgan_gp, dense_wgan_gp

MIXTURES = {
    "eight_gaussians": partial(mixture_figures, centers=toys.GAUSSIANS_8_CENTERS, std=toys.GAUSSIANS_8_STD),
    "twenty_five_gaussians": partial(mixture_figures, centers=toys.GAUSSIANS_25_CENTERS, std=toys.GAUSSIANS_25_STD),
}


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
    """Units of a dense layer; channels of a convolution."""
    latents: int = 2
    critic_steps: int = 5
    penalty_weight: float = 0.1
    learning_rate: float = 1e-4
    decay: bool = False
    """Lower the learning rate linearly to zero, as the paper does on CIFAR-10."""


def build(config: WGANGPConfig, data: Splits) -> Experiment:
    shared = dict(latents=config.latents, critic_steps=config.critic_steps, penalty_weight=config.penalty_weight)
    event_shape, levels = data.train.event_shape, data.train.levels
    if len(event_shape) == 3:
        model = conv_wgan_gp(event_shape, config.width, levels=levels, **shared)
    elif config.data in MIXTURES:
        model = dense_wgan_gp(event_shape, config.width, metrics=MIXTURES[config.data], **shared)
    else:
        model = dense_wgan_gp(event_shape, config.width, **shared)

    def adam(moves: int) -> optax.GradientTransformation:
        rate = optax.linear_schedule(config.learning_rate, 0, moves) if config.decay else config.learning_rate
        return optax.adam(rate, b1=0.5, b2=0.9)

    plays = model.plays()
    plays["critic"] = plays["critic"]._replace(optimizer=adam(config.steps))
    plays["generator"] = plays["generator"]._replace(
        optimizer=adam(config.steps // config.critic_steps), when=every(config.critic_steps)
    )
    return Experiment(model, plays)


if __name__ == "__main__":
    main(WGANGPConfig, build)
