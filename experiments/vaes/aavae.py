"""The adversary activated VAE (Hu et al. 2018, arXiv:1706.00550, section 5.2).

On MNIST the paper reports the bound on log p(x) in nats with 1, 10 and 100 % of the training examples: -122.15, -103.05
and -92.42; its VAE has -122.89, -104.49 and -92.53. `--share` sets this fraction, and `--plain` trains the VAE on the
same examples. A batch has as many generated as real examples, as in the paper. The networks are not the paper's, but
those of the VAE of Burda et al. 2016.
"""

import dataclasses
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import optax
from flax import linen as nn

from experiments.autoencoding import AutoencoderConfig, adam, autoencoder, experiment
from experiments.config import Experiment, Published
from experiments.run import main
from jaxgen.data import Splits
from jaxgen.models.vaes import AAVAE
from jaxgen.nets import MLP
from jaxgen.training.ranges import Between, Count, NonNegative

PUBLISHED = {
    data: Published("elbo in nats", -92.42, "Hu et al. 2018, table 3: AA-VAE, all training rows")
    for data in ("tfds:mnist", "mnist.npz")
}


@dataclass(frozen=True, kw_only=True)
class AAVAEConfig(AutoencoderConfig):
    steps: Count = 10_000
    batch_size: Count = 100
    share: Annotated[float, Between(0, 1, above=True)] = 1.0
    """Fraction of the training examples to use, chosen by the seed."""
    plain: bool = False
    """Train the plain VAE, for comparison."""
    discriminator_rate: NonNegative = 1e-4
    """Adam's learning rate (beta_1 = 0.5) for the discriminator."""


def build(config: AAVAEConfig, data: Splits) -> Experiment:
    vae, kept = autoencoder(config, data), round(config.share * len(data.train))
    if config.share < 1:
        chosen = np.random.default_rng(config.seed).permutation(len(data.train))[:kept]
        data = data._replace(train=data.train.subset(chosen))
    if config.plain:
        return experiment(config, data, vae, data=data)
    discriminator = MLP((config.width,) * 2, nn.leaky_relu)
    fields = {field.name: getattr(vae, field.name) for field in dataclasses.fields(vae)}
    model = AAVAE(**fields, discriminator=discriminator)
    optimizers = dict.fromkeys(model.plays(), adam(config))
    optimizers["discriminator"] = optax.adam(config.discriminator_rate, b1=0.5)
    return experiment(config, data, model, optimizers, data=data)


if __name__ == "__main__":
    main(AAVAEConfig, build, PUBLISHED)
