"""The variational autoencoder (Kingma & Welling 2014), in the set-up of Burda et al. 2016 (arXiv:1509.00519), table 1.

On binarized MNIST, drawn anew each epoch, with 784-200-200-50 tanh networks, batches of 20 and Adam of epsilon 1e-4, the
paper reports -log p(x) = 86.76 nats after 3,280 epochs, by 5,000 importance samples.

Against posterior collapse: `--warmup` and `--cycles` raise the divergence's weight from zero, `--free-bits` gives each
latent some nats for nothing, and with `--encoder-steps` the encoder moves several times for one move of the decoder.
"""

import dataclasses
import functools
from dataclasses import dataclass

import optax

from experiments.autoencoding import AutoencoderConfig, autoencoder, experiment
from experiments.shell import Experiment, Published, main
from jaxgen.data import Splits
from jaxgen.losses import cyclical, warm_up
from jaxgen.models.vaes import ELBO, VAE, lagging_inference

PUBLISHED = {
    data: Published("-log p(x) in nats, by 5,000 samples", 86.76, "Burda et al. 2016, table 1: VAE, k = 1")
    for data in ("tfds:mnist", "mnist.npz")
}


@dataclass(frozen=True, kw_only=True)
class VAEConfig(AutoencoderConfig):
    kl_weight: float = 1.0
    """Of the divergence in the objective, at the end of its schedule."""
    warmup: int = 0
    """Steps in which the weight rises from zero; with `cycles`, the length of a cycle."""
    cycles: bool = False
    """Start again from zero after each `warmup` steps, having risen in the first half of them."""
    free_bits: float = 0.0
    """Nats of each latent that cost nothing."""
    encoder_steps: int = 1
    """Moves of the encoder, each on a batch of its own, for one of the decoder."""


def build(config: VAEConfig, data: Splits) -> Experiment:
    return trained(config, data, autoencoder(config, data))


def trained(config: VAEConfig, data: Splits, model: VAE) -> Experiment:
    """The model with the configured objective, by the configured game."""
    weight = config.kl_weight
    if config.warmup:
        schedule = cyclical if config.cycles else warm_up
        weight = functools.partial(schedule, steps=config.warmup, weight=weight)
    model = dataclasses.replace(model, objective=ELBO(weight, config.free_bits))
    if config.encoder_steps == 1:
        return experiment(config, data, model)
    adam, plays = optax.adam(config.learning_rate, eps=1e-4), lagging_inference(model, config.encoder_steps)
    return experiment(config, data, model, {name: play._replace(optimizer=adam) for name, play in plays.items()})


if __name__ == "__main__":
    main(VAEConfig, build, PUBLISHED)
