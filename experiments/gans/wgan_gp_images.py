"""WGAN-GP on images (Gulrajani et al. 2017, arXiv:1704.00028, table 3): Inception score 7.86 on unlabelled CIFAR-10.

The paper's residual networks of 128 channels, penalty 10, five critic steps a generator step, batches of 64, Adam 2e-4
(0, 0.9) lowered linearly to zero over 100,000 generator steps. The figure here is the sliced Wasserstein distance of
pixels from the split, for which nothing is published.
"""

from dataclasses import dataclass

import optax

from experiments.shell import Config, Experiment, Published, main
from jaxgen.data import Splits
from jaxgen.models.gans import conv_wgan_gp

PUBLISHED = {"tfds:cifar10": Published("inception_score", 7.86, "Gulrajani et al. 2017, table 3, unsupervised")}


@dataclass(frozen=True, kw_only=True)
class WGANGPImagesConfig(Config):
    steps: int = 500_000
    """Batches, one for each move of the critic: the generator moves `critic_steps` times less often."""
    batch_size: int = 64
    eval_every: int = 5_000
    checkpoint_every: int = 5_000
    width: int = 128
    """Channels of every layer."""
    latents: int = 128
    """Dimension of the generator\'s noise."""
    critic_steps: int = 5
    """Moves of the critic for one of the generator."""
    penalty_weight: float = 10.0
    """Of the gradient penalty."""
    learning_rate: float = 2e-4
    """Of Adam; it falls linearly to zero."""


def build(config: WGANGPImagesConfig, data: Splits) -> Experiment:
    model = conv_wgan_gp(
        data.train.event_shape, config.width, config.latents, data.train.levels, config.penalty_weight,
        config.critic_steps,
    )

    def adam(moves: int) -> optax.GradientTransformation:
        return optax.adam(optax.linear_schedule(config.learning_rate, 0.0, moves), b1=0.0, b2=0.9)

    plays = dict(model.plays())
    plays["critic"] = plays["critic"]._replace(optimizer=adam(config.steps))
    plays["generator"] = plays["generator"]._replace(optimizer=adam(config.steps // config.critic_steps))
    return Experiment(model, plays)


if __name__ == "__main__":
    main(WGANGPImagesConfig, build, PUBLISHED)
