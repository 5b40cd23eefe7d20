"""WGAN-GP on images (Gulrajani et al. 2017, arXiv:1704.00028, table 3): Inception score 7.86 on unlabelled CIFAR-10.

The paper's residual networks of 128 channels, penalty 10, five critic steps a generator step, batches of 64, Adam 2e-4
(0, 0.9) lowered linearly to zero over 100,000 generator steps. `--network dcgan` takes DCGAN's networks, the critic's
without normalisation. The figures here are by a classifier that is trained on the data's labels, if one is given with
`--extractor`, and compare with nothing published.
"""

from dataclasses import dataclass
from typing import Literal

import optax

from experiments.adversarial import AdversarialConfig, experiment, fields, networks
from experiments.shell import Experiment, Published, main
from jaxgen.data import Splits
from jaxgen.models.gans import WGANGP, GradientPenalty

PUBLISHED = {"tfds:cifar10": Published("inception_score", 7.86, "Gulrajani et al. 2017, table 3, unsupervised")}


@dataclass(frozen=True, kw_only=True)
class WGANGPImagesConfig(AdversarialConfig):
    steps: int = 500_000
    """Batches, one for each move of the critic: the generator moves `critic_steps` times less often."""
    eval_every: int = 5_000
    checkpoint_every: int = 5_000
    network: Literal["dcgan", "residual", "dense"] = "residual"
    width: int = 128
    latents: int = 128
    critic_steps: int = 5
    b1: float = 0.0
    penalty_weight: float = 10.0
    """Of the gradient penalty."""


def build(config: WGANGPImagesConfig, data: Splits) -> Experiment:
    model = WGANGP(
        *networks(config, data, None), **fields(config, data), terms=(GradientPenalty(config.penalty_weight),)
    )  # fmt: skip

    def adam(rate: float, moves: int) -> optax.GradientTransformation:
        return optax.adam(optax.linear_schedule(rate, 0.0, moves), config.b1, 0.9)

    optimizers = {
        "critic": adam(config.critic_rate, config.steps),
        "generator": adam(config.learning_rate, config.steps // config.critic_steps),
    }
    return experiment(config, data, model, optimizers=optimizers)


if __name__ == "__main__":
    main(WGANGPImagesConfig, build, PUBLISHED)
