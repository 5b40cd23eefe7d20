"""Adversarially learned inference and BiGAN (Dumoulin et al. 2016, arXiv:1606.00704; Donahue et al. 2016, 1605.09782).

On MNIST without its geometry, Donahue et al. have networks of two layers of 1,024 units, 50 latents, batches of 128,
Adam 2e-4 (0.5, 0.999) falling over 400 epochs, and report the accuracy of the nearest neighbour by E(x) beside one by
pixels: `--data mnist.npz --width 1024 --latents 50 --steps 187000 --learning-rate 2e-4 --deterministic`. Their latents
are uniform and their networks normalised by batches, here normal and plain.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import optax
from flax import linen as nn

from experiments.autoencoding import NetworksConfig, autoencoder, codes, experiment
from experiments.shell import Experiment, Published, main
from jaxgen.data import Splits
from jaxgen.models.vaes import ALI
from jaxgen.nets import MLP, Joint
from jaxgen.training import TrainedModel

PUBLISHED = {
    data: Published("nearest neighbour's accuracy", 0.9739, "Donahue et al. 2016, table 1: BiGAN, without geometry")
    for data in ("tfds:mnist", "mnist.npz")
}


@dataclass(frozen=True, kw_only=True)
class ALIConfig(NetworksConfig):
    steps: int = 10_000
    batch_size: int = 100
    width: int = 256
    latents: int = 10
    learning_rate: float = 3e-4
    """Of Adam (b1 = 0.5), for both sides."""
    deterministic: bool = False
    """BiGAN's deterministic encoder in place of ALI's Gaussian one."""


def build(config: ALIConfig, data: Splits) -> Experiment:
    vae = autoencoder(config, data, nn.relu)
    # images pass through the encoder's own convolutions before they meet the latents
    trunk = None if config.network == "dense" else vae.encoder
    model = ALI(
        vae.encoder, vae.decoder, Joint(MLP((config.width,) * 2, nn.leaky_relu), trunk), vae.event_shape,
        latent_dim=config.latents, likelihood=vae.likelihood, levels=vae.levels, stochastic=not config.deterministic,
    )  # fmt: skip
    adam = optax.adam(config.learning_rate, b1=0.5)
    plays = {name: play._replace(optimizer=adam) for name, play in model.plays().items()}
    base = experiment(config, data, model, plays)

    def report(bound: TrainedModel) -> Mapping[str, float]:
        return base.report(bound) | nearest_neighbour(bound, data, config.eval_batch)

    return base._replace(report=report, baselines=nearest_neighbour(None, data, config.eval_batch))


def nearest_neighbour(bound: TrainedModel | None, data: Splits, batch_size: int) -> dict[str, float]:
    """The share of test rows whose nearest training row, by codes or without a model by pixels, is of their class."""
    from sklearn.neighbors import KNeighborsClassifier

    if "label" not in data.train.head(1):
        return {}

    def features(source):
        if bound is not None:
            return np.asarray(codes(bound, source, batch_size))
        return np.concatenate([batch["x"].reshape(len(batch["x"]), -1) for batch in source.batches(batch_size)])

    def labels(source):
        return np.concatenate([batch["label"] for batch in source.batches(batch_size)])

    found = KNeighborsClassifier(1).fit(features(data.train), labels(data.train)).predict(features(data.test))
    name = "nearest neighbour's accuracy" + (", by pixels" if bound is None else "")
    return {name: float(np.mean(found == labels(data.test)))}


if __name__ == "__main__":
    main(ALIConfig, build, PUBLISHED)
