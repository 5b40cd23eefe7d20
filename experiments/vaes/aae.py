"""The adversarial autoencoder (Makhzani et al. 2015, arXiv:1511.05644).

On MNIST the paper has networks of two layers of 1,000 rectified units, deterministic encoders and batches of 100, 8
latents for its likelihoods and 2 for its pictures: `--data mnist.npz --width 1000 --latents 8 --steps 500000`. Its
figure, 340 nats by a Parzen window, depends on the window more than on the model; here are the distances of codes from
the prior and of samples from the data. With `--prior petals` the codes are held to a mixture of Gaussians of the plane,
and with `--labels` each class to one of them. The paper's SGD with momentum is Adam here.
"""

from dataclasses import dataclass
from typing import Literal

import optax
from flax import linen as nn

from experiments.autoencoding import NetworksConfig, autoencoder, experiment
from experiments.shell import Experiment, main
from jaxgen.data import Splits
from jaxgen.distributions import Petals
from jaxgen.models.vaes import AAE
from jaxgen.nets import MLP


@dataclass(frozen=True, kw_only=True)
class AAEConfig(NetworksConfig):
    steps: int = 5_000
    batch_size: int = 100
    width: int = 256
    latents: int = 2
    learning_rate: float = 1e-3
    """Of Adam, for the reconstruction."""
    adversary_rate: float = 5e-4
    """Of Adam (b1 = 0.5), for the discriminator and the regularisation."""
    stochastic: bool = False
    """A Gaussian encoder in place of a deterministic one."""
    prior: Literal["normal", "petals"] = "normal"
    """What codes are held to: a standard normal, or as many Gaussians of the plane as there are classes."""
    labels: bool = False
    """Show the discriminator the labels, so that each class goes to its own petal."""


def build(config: AAEConfig, data: Splits) -> Experiment:
    """Raises:
    ValueError: petals in another space than the plane; labels without petals, or where there are none.
    """
    vae, classes = autoencoder(config, data, nn.relu), data.train.classes
    if config.prior == "petals" and config.latents != 2:
        raise ValueError(f"prior='petals' lies in the plane: latents={config.latents} has to be 2")
    if config.labels and (config.prior != "petals" or classes is None):
        raise ValueError(
            f"labels=True needs prior='petals' and data with classes: prior={config.prior!r}, data={config.data!r}"
        )
    model = AAE(
        vae.encoder, vae.decoder, MLP((config.width,) * 2), vae.event_shape, latent_dim=config.latents,
        likelihood=vae.likelihood, levels=vae.levels, stochastic=config.stochastic,
        prior=Petals(classes or 10) if config.prior == "petals" else None,
        num_classes=classes if config.labels else 0,
    )  # fmt: skip
    adam = optax.adam(config.adversary_rate, b1=0.5)
    plays = {name: play._replace(optimizer=adam) for name, play in model.plays().items()}
    plays["reconstruction"] = plays["reconstruction"]._replace(optimizer=optax.adam(config.learning_rate))
    return experiment(config, data, model, plays)


if __name__ == "__main__":
    main(AAEConfig, build)
