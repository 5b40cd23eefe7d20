"""Adversarial variational Bayes (Mescheder et al. 2017, arXiv:1701.04722).

On MNIST with pixels as probabilities, the paper uses convolutional networks, 32 latents, 32 noise functions of three
layers of 128 units on 64 noise dimensions each, and in its code batches of 128, Adam at 5e-5 for the autoencoder and
1e-4 for the adversary and 2,500,000 steps: `--data mnist.npz --network conv --width 64 --batch-size 128 --latents 32
--learning-rate 5e-5 --adversary-rate 1e-4 --steps 2500000`. It reports -log p(x) = 80.2 nats by annealed importance
sampling with adaptive contrast; a VAE with the same networks has 81.9. Here -log p(x) is bounded by importance sampling
from a normal with the posterior's moments, which `elbo` and its terms use too; `adversarial_elbo` is the paper's own
estimate, which is too high while the adversary lags.
"""

from dataclasses import dataclass

import optax
from flax import linen as nn

from experiments.autoencoding import AutoencoderConfig, autoencoder, experiment
from experiments.config import Experiment, Published
from experiments.run import main
from jaxgen.data import Splits
from jaxgen.models.vaes import AVB, ImplicitPosterior
from jaxgen.nets import MLP, Joint
from jaxgen.training.ranges import Count, NonNegative

PUBLISHED = {
    data: Published("-log p(x) in nats, by annealed importance sampling", 80.2, "Mescheder et al. 2017: AVB + AC, 32-d")
    for data in ("tfds:mnist", "mnist.npz")
}


@dataclass(frozen=True, kw_only=True)
class AVBConfig(AutoencoderConfig):
    steps: Count = 10_000
    batch_size: Count = 100
    latents: Count = 8
    learning_rate: NonNegative = 5e-4
    """Adam's learning rate for the autoencoder."""
    adversary_rate: NonNegative = 1e-3
    """Adam's learning rate for the adversary."""
    adversary_width: Count = 256
    """Units of each of the adversary's two layers."""
    no_contrast: bool = False
    """Contrast with the prior instead of a normal with the posterior's moments (adaptive contrast)."""
    basis: Count = 32
    """Number of noise functions in the posterior."""
    noise: Count = 16
    """Dimension of each function's noise."""
    basis_width: Count = 64
    """Units of each of the two layers of a noise function."""


def build(config: AVBConfig, data: Splits) -> Experiment:
    vae = autoencoder(config, data)
    trunk = None if config.network == "dense" else vae.encoder
    model = AVB(
        vae.encoder, vae.decoder, vae.event_shape, latent_dim=config.latents, likelihood=vae.likelihood,
        levels=vae.levels,
        adversary=Joint(MLP((config.adversary_width,) * 2, nn.elu), trunk),
        adaptive_contrast=not config.no_contrast,
        posterior=ImplicitPosterior(
            num_functions=config.basis, noise_dim=config.noise, widths=(config.basis_width,) * 2
        ),
    )  # fmt: skip
    rates = {"autoencoder": config.learning_rate, "adversary": config.adversary_rate}
    return experiment(config, data, model, {name: optax.adam(rate) for name, rate in rates.items()})


if __name__ == "__main__":
    main(AVBConfig, build, PUBLISHED)
