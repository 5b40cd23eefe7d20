"""The variational autoencoder (Kingma & Welling 2014), in the set-up of Burda et al. 2016 (arXiv:1509.00519), table 1.

On binarized MNIST, drawn anew each epoch, with 784-200-200-50 tanh networks, batches of 20 and Adam of epsilon 1e-4, the
paper reports -log p(x) = 86.76 nats after 3,280 epochs, by 5,000 importance samples.
"""

from dataclasses import dataclass
from typing import Literal

import optax

from experiments.shell import Config, Experiment, Published, main
from jaxgen.contracts import Array, Batch, Key, Variables
from jaxgen.data import Splits
from jaxgen.distributions.likelihoods import Bernoulli, DiscretizedLogistic, Gaussian
from jaxgen.models.vaes.vae import conv_vae, dense_vae

PUBLISHED = {
    data: Published("-log p(x) in nats, by 5,000 samples", 86.76, "Burda et al. 2016, table 1: VAE, k = 1")
    for data in ("tfds:mnist", "mnist.npz")
}


@dataclass(frozen=True, kw_only=True)
class VAEConfig(Config):
    steps: int = 20_000
    batch_size: int = 20
    network: Literal["dense", "conv"] = "dense"
    """Encoder and decoder; convolutions are for images."""
    likelihood: Literal["bernoulli", "gaussian", "discretized_logistic"] = "bernoulli"
    """`bernoulli` draws each pixel as 0 or 1 with its grey value as probability."""
    latents: int = 50
    """Dimension of the latent space."""
    width: int = 200
    """Units of a dense layer, of which there are two; channels of the first convolution."""
    learning_rate: float = 1e-3
    """Of Adam."""
    importance_samples: int = 500
    """Samples of the bound on log p(x) that is reported on the test split."""


def build(config: VAEConfig, data: Splits) -> Experiment:
    event_shape, levels = data.train.event_shape, data.train.levels
    if levels is None and config.likelihood == "discretized_logistic":
        raise ValueError(f"likelihood='discretized_logistic' is of integer images; data={config.data!r} is real-valued")
    likelihood = {
        "bernoulli": Bernoulli,
        "gaussian": Gaussian,
        "discretized_logistic": lambda: DiscretizedLogistic(levels),
    }[config.likelihood]()
    if config.network == "dense":
        model = dense_vae(event_shape, config.latents, (config.width,) * 2, likelihood=likelihood, levels=levels)
    else:
        model = conv_vae(event_shape, config.latents, config.width, likelihood=likelihood, levels=levels)
    plays = model.plays()
    plays["elbo"] = plays["elbo"]._replace(optimizer=optax.adam(config.learning_rate, eps=1e-4))

    def figures(variables: Variables, batch: Batch, key: Key) -> dict[str, Array]:
        context, samples = batch.get("context"), config.importance_samples
        bound = model.log_prob(variables, batch["x"], key, context, samples)
        return {f"-log p(x) in nats, by {samples:,} samples": -bound.mean()}

    return Experiment(model, plays, figures=figures)


if __name__ == "__main__":
    main(VAEConfig, build, PUBLISHED)
