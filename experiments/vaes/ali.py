"""Adversarially learned inference and BiGAN (Dumoulin et al. 2016, arXiv:1606.00704; Donahue et al. 2016, 1605.09782).

On permutation-invariant MNIST, Donahue et al. use networks of two layers of 1,024 units, 50 latents, batches of 128 and
Adam at 2e-4 (0.5, 0.999), decayed over 400 epochs, and report nearest-neighbour accuracy by E(x) and by pixels: `--data
mnist.npz --width 1024 --latents 50 --steps 187000 --learning-rate 2e-4 --deterministic`. Their latents are uniform and
their networks batch-normalised; here latents are normal and the networks have no normalisation.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import optax
from flax import linen as nn

from experiments.autoencoding import NetworksConfig, autoencoder, experiment
from experiments.config import Experiment, Published
from experiments.run import main
from jaxgen.data import Source, Splits
from jaxgen.data.splits import split_array
from jaxgen.metrics.probes import nearest_neighbour_accuracy
from jaxgen.models.vaes import ALI
from jaxgen.nets import MLP, Joint
from jaxgen.training import TrainedModel, latents
from jaxgen.training.ranges import Count, NonNegative

PUBLISHED = {
    data: Published("nearest neighbour's accuracy", 0.9739, "Donahue et al. 2016, table 1: BiGAN, without geometry")
    for data in ("tfds:mnist", "mnist.npz")
}


@dataclass(frozen=True, kw_only=True)
class ALIConfig(NetworksConfig):
    steps: Count = 10_000
    batch_size: Count = 100
    width: Count = 256
    latents: Count = 10
    learning_rate: NonNegative = 3e-4
    """Adam's learning rate (beta_1 = 0.5) for both plays."""
    deterministic: bool = False
    """Use BiGAN's deterministic encoder instead of ALI's Gaussian one."""


def build(config: ALIConfig, data: Splits) -> Experiment:
    vae = autoencoder(config, data, nn.relu)
    # on images the critic has the encoder's convolutions
    trunk = None if config.network == "dense" else vae.encoder
    model = ALI(
        vae.encoder, vae.decoder, Joint(MLP((config.width,) * 2, nn.leaky_relu), trunk), vae.event_shape,
        latent_dim=config.latents, likelihood=vae.likelihood, levels=vae.levels, stochastic=not config.deterministic,
    )  # fmt: skip
    optimizers = dict.fromkeys(model.plays(), optax.adam(config.learning_rate, b1=0.5))
    labelled = "label" in data.train.head(1)
    labels = [split_array(split, "label") for split in (data.train, data.test)] if labelled else None

    def accuracy(features: Callable[[Source], np.ndarray]) -> float:
        (train, test), (train_labels, test_labels) = (features(data.train), features(data.test)), labels
        return nearest_neighbour_accuracy(train, train_labels, test, test_labels)

    def final_metrics(trained: TrainedModel) -> Mapping[str, float]:
        by_codes = partial(latents.codes, trained, batch_size=config.eval_batch)
        return {"nearest neighbour's accuracy": accuracy(by_codes)} if labelled else {}

    by_pixels = partial(split_array, name="x")
    baselines = {"pixels, nearest neighbour's accuracy": accuracy(by_pixels)} if labelled else {}
    return experiment(config, data, model, optimizers, final_metrics=final_metrics, baselines=baselines)


if __name__ == "__main__":
    main(ALIConfig, build, PUBLISHED)
