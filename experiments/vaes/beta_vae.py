"""The beta-VAE (Higgins et al. 2017).

`--objective weighted` weights the KL divergence by beta; `--objective capacity` holds it at a number of nats that grows
over the run (Burgess et al. 2018, "Understanding disentangling in beta-VAE", arXiv:1804.03599). Traversals show the
effect of each latent.

The defaults suit images of 64 pixels, where beta 4 collapses all latents. On dSprites, with 4,096 pixels, Higgins et
al. use beta 4 with dense networks (`--beta 4 --width 1200`, Adagrad at 1e-2), Burgess et al. 25 nats, weight 1,000 and
100,000 steps with convolutional networks (`--objective capacity --capacity 25 --gamma 1000 --capacity-steps 100000
--network conv --learning-rate 5e-4`); the ten latents are theirs.
"""

import dataclasses
from dataclasses import dataclass
from typing import Literal

from experiments.autoencoding import AutoencoderConfig, autoencoder, experiment
from experiments.config import Experiment
from experiments.run import main
from jaxgen.data import Splits
from jaxgen.models.vaes import ELBO, Capacity
from jaxgen.training.ranges import Count, NonNegative


@dataclass(frozen=True, kw_only=True)
class BetaVAEConfig(AutoencoderConfig):
    batch_size: Count = 64
    latents: Count = 10
    objective: Literal["weighted", "capacity"] = "weighted"
    """Weight the KL divergence, or hold it at a capacity."""
    beta: NonNegative = 2.0
    """Weight of the KL divergence (`weighted`)."""
    capacity: NonNegative = 5.0
    """Final capacity in nats (`capacity`)."""
    capacity_steps: Count | None = None
    """Steps in which the capacity grows from zero; by default `steps`."""
    gamma: NonNegative = 30.0
    """Weight of the distance to the capacity."""


def build(config: BetaVAEConfig, data: Splits) -> Experiment:
    objective = ELBO(config.beta)
    if config.objective == "capacity":
        steps = config.steps if config.capacity_steps is None else config.capacity_steps
        objective = Capacity(config.capacity, config.gamma, steps)
    return experiment(config, data, dataclasses.replace(autoencoder(config, data), objective=objective))


if __name__ == "__main__":
    main(BetaVAEConfig, build)
