"""The adversarial latent autoencoder (Pidhorskyi et al. 2020, "Adversarial Latent Autoencoders", arXiv:2004.04467).

Result on MNIST, three seeds, 12,000 steps in a minute and a half of one core each: `--data mnist.npz --preset small
--batch-size 64 --steps 12000 --seeds 3 --extractor FOLDER`. Classifiers of E(x): linear SVM 0.872 ± 0.003, nearest
neighbour 0.891 ± 0.004 (BiGAN: 0.884 and 0.899; autoencoder: 0.897 and 0.953). Reconstructions have a mean squared
error of 0.029 (BiGAN 0.087), samples a sliced Wasserstein distance of 8.5 (BiGAN 43). The latent error is 0.097 of the
variance, the path length in W 0.396 ± 0.007 of that in Z.

These are plain layers. With the authors', `--layers equalized`, samples are noise around a digit (distance 22.3) and E
hardly inverts G (latent error 0.74), though 40,000 steps, 1,024 units, penalties of 10, 1 and 0.1 and decaying rates
were tried as well. Two causes, which a plain GAN of these networks has too: a linear output must cancel the noise in
each pixel that is black in all data, which tanh does by itself (`--layers bounded`: 18.5, error of reconstructions
0.081 in place of 0.209), and the weights of an equalised encoder, of unit variance at first, keep the noise of their
initial values, which its gradient draws into the strokes.

The paper's dense networks for MNIST have 50 dimensions of z and w and two layers of 1,024 units; the authors train 600
epochs with batches of 128. Their table of the codes' accuracies comes from another branch of their code than the
released configuration.

`--system bigan` and `--system autoencoder` train encoders of the same widths by other objectives. The accuracies are of
classifiers of E(x), fitted to the first `--fitted` training examples. Path lengths are mean squared speeds along paths
between samples in the space of w and in that of z, of features with `--extractor FOLDER`, a run of
`experiments.gans.feature_extractor`, otherwise of pixels on [-1, 1].
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import jax
import numpy as np
import optax
from flax import linen as nn

from experiments.autoencoding import COLUMNS
from experiments.config import Config, Experiment
from experiments.run import main
from jaxgen import plotting
from jaxgen.contracts import Array, Key
from jaxgen.data import Splits
from jaxgen.metrics.paths import perceptual_path_length, spherical_interpolation
from jaxgen.metrics.probes import linear_svm_accuracy, nearest_neighbour_accuracy
from jaxgen.models.hybrids import ALAE
from jaxgen.models.hybrids.alae import AUTHORS
from jaxgen.models.vaes import AAE, ALI
from jaxgen.nets import MLP, EqualizedMLP, Joint
from jaxgen.training import TrainedModel, latents
from jaxgen.training.extractor import load_extractor
from jaxgen.training.ranges import Count, Fraction, NonNegative

VARIANTS = {"paper": {}, "authors": AUTHORS}
PATHS = 2000
"""Paths whose length is measured."""


@dataclass(frozen=True, kw_only=True)
class ALAEConfig(Config):
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "small": {
            "layers": "plain", "width": 256, "steps": 4_000, "ema": 0.999,
            "eval_every": 1_000, "checkpoint_every": 1_000,
        },
    }  # fmt: skip

    preset: Literal["paper", "small"] = "paper"
    """Defaults: the authors' for MNIST, or those for a CPU."""
    system: Literal["alae", "bigan", "autoencoder"] = "alae"
    """ALAE, or a BiGAN or an autoencoder of the same widths."""
    variant: Literal["paper", "authors"] = "paper"
    """In the authors' code the third play moves the mapping too."""
    layers: Literal["equalized", "bounded", "plain"] = "equalized"
    """Of ALAE's encoder and generator: the authors'; those with tanh after the generator; plain ones with tanh."""
    steps: Count = 280_000
    ema: Fraction = 0.991
    width: Count = 1024
    """Units of each of the two hidden layers of encoder and generator."""
    latents: Count = 50
    """Dimension of z and w."""
    mapping_layers: Count = 6
    """Layers of the mapping and of the critic, as wide as the latents."""
    penalty: NonNegative = 10.0
    """gamma, of the gradient penalty."""
    learning_rate: NonNegative | None = None
    """Adam's learning rate; by default 2e-3, for plain layers and a BiGAN 2e-4, for an autoencoder 1e-3."""
    decay: bool = False
    """Learning rates fall to zero along a half cosine."""
    fitted: Count = 10_000
    """Training examples for the classifiers of codes."""
    extractor: Path | None = None
    """Run folder of a classifier in whose features paths are measured."""

    def check(self) -> None:
        super().check()
        if self.system == "alae":
            self.check_unconditional("an ALAE has no context")


def build(config: ALAEConfig, data: Splits) -> Experiment:
    shape, dim, levels = data.train.event_shape, config.latents, data.train.levels
    widths, inputs = (config.width,) * 2, int(np.prod(shape))

    def adam(default: float, b1: float, b2: float = 0.999) -> optax.GradientTransformation:
        rate = default if config.learning_rate is None else config.learning_rate
        return optax.adam(optax.cosine_decay_schedule(rate, config.steps) if config.decay else rate, b1, b2)

    fields = {"latent_dim": dim, "levels": levels}
    plays = None
    if config.system == "alae":
        layers = (dim,) * (config.mapping_layers - 1)
        generator, encoder = coders(config, inputs, bounded=levels is not None)
        model = ALAE(
            EqualizedMLP((*layers, dim), lr_multiplier=0.1, normalize=True),
            generator,
            encoder,
            EqualizedMLP(layers, 1, slope=1.0, lr_multiplier=0.1),  # linear, as in the authors' code
            shape, penalty=config.penalty, **fields, **VARIANTS[config.variant],
        )  # fmt: skip
        rate = 2e-4 if config.layers == "plain" else 2e-3
        optimizers = dict.fromkeys(model.plays(), adam(rate, 0.0, 0.99))
    elif config.system == "bigan":
        pairs = Joint(MLP(widths, nn.leaky_relu), None)
        model = ALI(MLP(widths), MLP(widths), pairs, shape, stochastic=False, **fields)
        optimizers = dict.fromkeys(model.plays(), adam(2e-4, 0.5))
    else:
        model = AAE(MLP(widths), MLP(widths), MLP((1,)), shape, monitor=("reconstruction", "max"), **fields)
        plays = {"reconstruction": model.plays()["reconstruction"]}
        optimizers = {"reconstruction": adam(1e-3, 0.9)}
    return Experiment(
        model, plays=plays, optimizers=optimizers, final_metrics=partial(code_metrics, config=config, data=data),
        plots=plots(config, data), draws=1,
    )  # fmt: skip


def coders(config: ALAEConfig, inputs: int, bounded: bool) -> tuple[nn.Module, nn.Module]:
    """ALAE's generator and encoder; `bounded` data are on [-1, 1]."""
    widths = (config.width,) * 2
    if config.layers == "plain":
        generator, encoder = (MLP(widths, nn.leaky_relu, features) for features in (inputs, config.latents))
    else:
        generator, encoder = EqualizedMLP(widths, inputs), EqualizedMLP((*widths, config.latents))
    if config.layers != "equalized" and bounded:
        generator = nn.Sequential([generator, nn.tanh])
    return generator, encoder


def code_metrics(trained: TrainedModel, config: ALAEConfig, data: Splits) -> dict[str, float]:
    """Accuracies of classifiers of the codes if there are labels, the mean squared error of reconstructions on [0, 1],
    and for ALAE path lengths.
    """
    train, test = data.train.subset(np.arange(min(config.fitted, len(data.train)))), data.test
    metrics, head = {}, test.head(PATHS)
    scale = 1.0 if data.train.levels is None else data.train.levels - 1.0
    again = np.asarray(trained.reconstruct(head["x"]), np.float32)
    metrics["pixel error"] = float((((again - head["x"]) / scale) ** 2).mean())
    if "label" in head:
        codes = [np.asarray(latents.codes(trained, split, config.eval_batch)) for split in (train, test)]
        labels = [split.head(len(split))["label"] for split in (train, test)]
        given = codes[0], labels[0], codes[1], labels[1]
        metrics["linear SVM's accuracy"] = linear_svm_accuracy(*given)
        metrics["nearest neighbour's accuracy"] = nearest_neighbour_accuracy(*given)
    if config.system == "alae":
        metrics |= path_lengths(trained, jax.random.key(config.seed), features(config))
    return metrics


def features(config: ALAEConfig) -> Callable[[Array], Array]:
    """Of images on [-1, 1] that are not rounded, as the extractor scales its data too."""
    if config.extractor is None:
        return lambda x: x
    trained = load_extractor(config.extractor).trained
    classifier = replace(trained.model, levels=None)
    return partial(classifier.features, trained.variables)


def path_lengths(trained: TrainedModel, key: Key, features: Callable[[Array], Array]) -> dict[str, float]:
    """In the spaces of w and of z, between the same pairs of samples."""
    start_key, end_key, time_key = jax.random.split(key, 3)
    model, variables = trained.model, trained.variables
    ends = [model.noise(k, PATHS) for k in (start_key, end_key)]

    def in_w(t: Array) -> Array:
        start, end = (model.latents(variables, z) for z in ends)
        return features(model.generate(variables, start + t[:, None] * (end - start)))

    def in_z(t: Array) -> Array:
        return features(model.generate(variables, model.latents(variables, spherical_interpolation(*ends, t))))

    t = jax.random.uniform(time_key, (PATHS,))
    in_w, in_z = (float(jax.jit(perceptual_path_length, static_argnums=0)(curve, t)) for curve in (in_w, in_z))
    return {"path length in W": in_w, "path length in Z": in_z, "path length in W over Z": in_w / in_z}


def plots(config: ALAEConfig, data: Splits) -> dict[str, Callable[[TrainedModel], Any]]:
    if not plotting.drawable(data.test.head(1)["x"]):
        return {}
    drawn = {"compared": partial(plot_reconstructions, data=data)}
    return drawn | {"interpolations": lambda trained: latents.plot_interpolations(trained, data.test)}


def plot_reconstructions(trained: TrainedModel, data: Splits) -> Any:
    """Test examples, their reconstructions, and samples."""
    x = data.test.head(COLUMNS)["x"]
    samples = np.asarray(trained.sample(jax.random.key(0), COLUMNS))
    return plotting.rows({"data": x, "reconstructions": np.asarray(trained.reconstruct(x)), "samples": samples})


if __name__ == "__main__":
    main(ALAEConfig, build)
