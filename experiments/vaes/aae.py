"""The adversarial autoencoder (Makhzani et al. 2015, arXiv:1511.05644).

On MNIST the paper uses networks of two layers of 1,000 rectified units, deterministic encoders and batches of 100, 8
latents for its likelihoods and 2 for its plots: `--data mnist.npz --width 1000 --latents 8 --steps 500000`. The paper's
340 nats by a Parzen window depend on the window more than on the model; the metrics here are the distances of codes
from the prior and of samples from the data. `--prior petals` matches the codes to a mixture of Gaussians in the plane,
and `--labels` each class to one component. Adam replaces the paper's SGD with momentum.
"""

from dataclasses import dataclass
from typing import Literal

import optax
from flax import linen as nn

from experiments.autoencoding import NetworksConfig, autoencoder, experiment
from experiments.config import Experiment
from experiments.run import main
from jaxgen.data import Splits
from jaxgen.distributions import RadialMixture
from jaxgen.models.vaes import AAE
from jaxgen.nets import MLP
from jaxgen.training.ranges import Count, NonNegative


@dataclass(frozen=True, kw_only=True)
class AAEConfig(NetworksConfig):
    steps: Count = 5_000
    batch_size: Count = 100
    width: Count = 256
    latents: Count = 2
    learning_rate: NonNegative = 1e-3
    """Adam's learning rate for the reconstruction."""
    adversary_rate: NonNegative = 5e-4
    """Adam's learning rate (beta_1 = 0.5) for the discriminator and the regularisation."""
    stochastic: bool = False
    """Use a Gaussian encoder instead of a deterministic one."""
    prior: Literal["normal", "petals"] = "normal"
    """Prior of the codes: standard normal, or a mixture of one 2-D Gaussian per class."""
    labels: bool = False
    """Condition the discriminator on the labels, so that each class matches its own mixture component."""


def build(config: AAEConfig, data: Splits) -> Experiment:
    """Raises:
    ValueError: petals with other than two latents; labels without petals or without classes.
    """
    vae, classes = autoencoder(config, data, nn.relu), data.train.num_classes
    if config.prior == "petals" and config.latents != 2:
        raise ValueError(f"`latents` must be 2 with prior='petals', got {config.latents}")
    if config.labels and (config.prior != "petals" or classes is None):
        raise ValueError(
            f"`labels` needs prior='petals' and data with classes, got prior={config.prior!r}, data={config.data!r}"
        )
    model = AAE(
        vae.encoder, vae.decoder, MLP((config.width,) * 2), vae.event_shape, latent_dim=config.latents,
        likelihood=vae.likelihood, levels=vae.levels, stochastic=config.stochastic,
        prior=RadialMixture(classes or 10) if config.prior == "petals" else None,
        num_classes=classes if config.labels else 0,
    )  # fmt: skip
    optimizers = dict.fromkeys(model.plays(), optax.adam(config.adversary_rate, b1=0.5))
    return experiment(config, data, model, optimizers | {"reconstruction": optax.adam(config.learning_rate)})


if __name__ == "__main__":
    main(AAEConfig, build)
