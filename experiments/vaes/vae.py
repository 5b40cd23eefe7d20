"""The variational autoencoder (Kingma & Welling 2014), in the set-up of Burda et al. 2016 (arXiv:1509.00519), table 1.

Result: 91.25 nats after 150,000 steps, 7 minutes on two cores: `--data mnist.npz --steps 150000 --importance-samples
5000`; the paper has 86.76 after 9,840,000.

On MNIST binarized anew each epoch, with 784-200-200-50 tanh networks, batches of 20 and Adam with epsilon 1e-4, the
paper reports -log p(x) = 86.76 nats after 3,280 epochs, by 5,000 importance samples.

Against posterior collapse: `--warmup` and `--cycles` raise the KL weight from zero, with `--free-bits` the first nats
of each latent are free, and `--encoder-steps` sets the number of encoder updates per decoder update.
"""

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any

from experiments.autoencoding import AutoencoderConfig, autoencoder, experiment
from experiments.config import Experiment, Published
from experiments.run import main
from jaxgen.data import Splits
from jaxgen.losses import cyclical, warm_up
from jaxgen.models.vaes import ELBO, VAE, lagging_inference
from jaxgen.training.ranges import Count, Natural, NonNegative

PUBLISHED = {
    data: Published("-log p(x) in nats, by 5,000 samples", 86.76, "Burda et al. 2016, table 1: VAE, k = 1", 9_840_000)
    for data in ("tfds:mnist", "mnist.npz")
}


@dataclass(frozen=True, kw_only=True)
class VAEConfig(AutoencoderConfig):
    kl_weight: NonNegative = 1.0
    """Weight of the KL divergence, at the end of its schedule."""
    warmup: Natural = 0
    """Steps in which the KL weight rises from zero; with `cycles`, the length of a cycle."""
    cycles: bool = False
    """Repeat the warm-up cyclically; the weight rises in the first half of each cycle."""
    free_bits: NonNegative = 0.0
    """Nats of each latent that are not penalised."""
    encoder_steps: Count = 1
    """Encoder updates per decoder update, each on its own batch."""


def build(config: VAEConfig, data: Splits) -> Experiment:
    return with_objective(config, data, autoencoder(config, data))


def with_objective(config: VAEConfig, data: Splits, model: VAE, **more: Any) -> Experiment:
    """The model with the configured objective and game; `more`: other fields of the `Experiment`."""
    weight = config.kl_weight
    if config.warmup:
        schedule = cyclical if config.cycles else warm_up
        weight = functools.partial(schedule, steps=config.warmup, weight=weight)
    model = dataclasses.replace(model, objective=ELBO(weight, config.free_bits))
    if config.encoder_steps == 1:
        return experiment(config, data, model, **more)
    return experiment(config, data, model, plays=lagging_inference(model, config.encoder_steps), **more)


if __name__ == "__main__":
    main(VAEConfig, build, PUBLISHED)
