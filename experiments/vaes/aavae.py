"""The adversary activated VAE (Hu et al. 2018, arXiv:1706.00550, section 5.2).

On MNIST the paper reports the bound on log p(x) in nats with 1, 10 and 100 % of the training rows: -122.15, -103.05 and
-92.42, where its VAE has -122.89, -104.49 and -92.53. `--share` takes so many rows, and `--plain` is the VAE on the
same ones. A batch has as many generated examples as rows, as the paper's; its networks are not those of this one, which
are the VAE's of Burda et al. 2016.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
import optax
from flax import linen as nn

from experiments.autoencoding import AutoencoderConfig, autoencoder, experiment
from experiments.shell import Experiment, Published, main
from jaxgen.data import Splits
from jaxgen.models.vaes import AAVAE
from jaxgen.nets import MLP

PUBLISHED = {
    data: Published("elbo in nats", -92.42, "Hu et al. 2018, table 3: AA-VAE, all training rows")
    for data in ("tfds:mnist", "mnist.npz")
}


@dataclass(frozen=True, kw_only=True)
class AAVAEConfig(AutoencoderConfig):
    steps: int = 10_000
    batch_size: int = 100
    share: float = 1.0
    """Of the training rows, drawn by the seed."""
    plain: bool = False
    """The VAE alone, for comparison."""
    discriminator_rate: float = 1e-4
    """Of Adam (b1 = 0.5), for the discriminator."""


def build(config: AAVAEConfig, data: Splits) -> Experiment:
    """Raises:
    ValueError: a share that is none.
    """
    if not 0 < config.share <= 1:
        raise ValueError(f"share={config.share} was given; it has to be above 0 and at most 1")
    vae, rows = autoencoder(config, data), round(config.share * len(data.train))
    if config.share < 1:
        chosen = np.random.default_rng(config.seed).permutation(len(data.train))[:rows]
        data = data._replace(train=data.train.subset(chosen))
    if config.plain:
        return experiment(config, data, vae)._replace(data=data)
    discriminator = MLP((config.width,) * 2, nn.leaky_relu)
    fields = {field.name: getattr(vae, field.name) for field in dataclasses.fields(vae)}
    model = AAVAE(**fields, discriminator=discriminator)
    adam = optax.adam(config.learning_rate, eps=1e-4)
    plays = {name: play._replace(optimizer=adam) for name, play in model.plays().items()}
    plays["discriminator"] = plays["discriminator"]._replace(optimizer=optax.adam(config.discriminator_rate, b1=0.5))
    return experiment(config, data, model, plays)._replace(data=data)


if __name__ == "__main__":
    main(AAVAEConfig, build, PUBLISHED)
