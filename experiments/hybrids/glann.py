"""Generative latent nearest neighbours (Hoshen, Li and Malik 2019, "Non-Adversarial Image Synthesis with Generative
Latent Nearest Neighbors", arXiv:1812.08985).

Result on 10,000 digits of MNIST, without a perceptual distance, one seed, 5,850 steps in two minutes of one core:
`--data mnist.npz --preset small --extractor FOLDER`. Frechet distance of samples 56.4, of GLO's normal samples 104.0;
coverage 0.50 and 0.27, recall 0.34 and 0.35. A VAE with the same decoder has 54.5 ± 0.7, coverage 0.52 and recall 0.81
(three seeds), so that it is not worse. The generator at the latents of training examples has about 30, with learning
rates halved each 6 epochs 68, and GLANN then 94.5 ± 4.2.

The paper's Frechet distances, in Inception's features, are 8.6 on MNIST, 13.0 on Fashion-MNIST and 46.5 on CIFAR-10.
Its distance of images is perceptual: `--trunk FILE` with the arrays of a VGG; without it only pixels are compared.

`--system vae` and `--system gan` train the controls, with the same generator. With `--extractor FOLDER`, a run of
`experiments.gans.feature_extractor` on the same data, all metrics of its features are reported, for GLANN those of
GLO's samples from a normal distribution too. `--data mnist.npz --preset small` takes the first 10,000 examples, as the
table has a latent for each.
"""

from collections.abc import Mapping
from dataclasses import dataclass
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
from jaxgen.data import ArraySource, Splits
from jaxgen.metrics import measure
from jaxgen.models.gans import GAN
from jaxgen.models.hybrids import GLANN
from jaxgen.models.vaes import VAE
from jaxgen.nets import MLP, BatchNorm, DCGANGenerator, load_vgg, normalize_activations
from jaxgen.nets.decoders import halved, halvings
from jaxgen.training import TrainedModel
from jaxgen.training.extractor import load_extractor
from jaxgen.training.ranges import Count, Fraction, NonNegative, Probability

REPORTED = ("frechet_distance", "precision", "recall", "density", "coverage")


@dataclass(frozen=True, kw_only=True)
class GLANNConfig(Config):
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "small": {
            "network": "dense", "width": 256, "examples": 10_000, "steps": 5_850, "glo_fraction": 0.8,
            "eval_every": 1_170, "checkpoint_every": 1_170,
        },
    }  # fmt: skip

    preset: Literal["paper", "small"] = "paper"
    """Defaults: the authors', or those for 10,000 images of 28 to 32 pixels on a CPU."""
    system: Literal["glann", "vae", "gan"] = "glann"
    """GLANN, or a VAE or a GAN with the same generator."""
    variant: Literal["paper", "authors"] = "paper"
    """In the authors' code Adam is created anew for each epoch, and the mapping has batch normalisation."""
    steps: Count = 117_000
    ema: Fraction = 0.0
    examples: Count | None = None
    """The first training examples, each with a latent; all by default."""
    network: Literal["dcgan", "dense"] = "dcgan"
    """The generator; `dense` has two hidden layers."""
    width: Count = 128
    """Channels at the lowest resolution, or units of a layer."""
    latents: Count = 64
    noise: Count = 32
    """Dimension of the mapping's noise."""
    mapping_width: Count = 128
    """Units of the mapping's two hidden layers."""
    glo_fraction: Probability = 0.8
    """Part of the steps that learns latents and generator; the rest learns the mapping."""
    halving: Count = 20
    """Epochs until the learning rates of latents and generator are halved, again and again."""
    learning_rate: NonNegative = 1e-3
    """Adam's, of the VAE; for the GAN a fifth of it."""
    trunk: Path | None = None
    """File with the arrays of a VGG, in whose features images are compared too."""
    extractor: Path | None = None
    """Run folder of a classifier in whose features samples are measured."""
    measured: Count = 2_000
    """Test examples and samples for those metrics."""

    def check(self) -> None:
        super().check()
        if self.system == "glann":
            self.check_unconditional("the latents have no context")


def indexed(source: ArraySource, examples: int | None = None) -> ArraySource:
    """The first examples with their `index`.

    Raises:
        ValueError: the data are not in memory.
    """
    if not isinstance(source, ArraySource):
        raise ValueError(f"the table of latents needs data in memory, got {source}")
    n = min(len(source), examples or len(source))
    arrays = {**source.take(np.arange(n)), "index": np.arange(n)}
    return ArraySource(arrays, levels=source.levels, name=source.name, num_classes=source.num_classes)


def build(config: GLANNConfig, data: Splits) -> Experiment:
    train, shape = indexed(data.train, config.examples), data.train.event_shape
    fields = {"latent_dim": config.latents, "levels": train.levels}
    if config.network == "dense":
        generator = MLP((config.width,) * 2)
    else:
        stages = max(1, min(2, halvings(shape)))
        generator = DCGANGenerator(halved(shape, stages), tuple(config.width >> i for i in range(stages)))
    widths, start, authors = (config.width,) * 2, None, config.variant == "authors"
    if config.system == "vae":
        model = VAE(MLP(widths), generator, shape, binarize=False, **fields)
        optimizers = {"elbo": optax.adam(config.learning_rate)}
    elif config.system == "gan":
        model = GAN(generator, MLP(widths, nn.leaky_relu), shape, **fields)
        optimizers = dict.fromkeys(model.plays(), optax.adam(config.learning_rate / 5, b1=0.5))
    else:
        if config.trunk is not None:
            network, variables = load_vgg(config.trunk, "relu3_2")
            head = np.float32(train.head(64)["x"]) / ((train.levels or 2) - 1)
            head = np.broadcast_to(head, (*head.shape[:-1], 3))
            start = {"features": jax.jit(partial(normalize_activations, network, per="layer"))(variables, head)}
            fields["features"] = network
        model = GLANN(
            generator, shape, len(train), epoch=max(1, len(train) // config.batch_size), halving=config.halving,
            mapping=MLP((config.mapping_width,) * 2, norm=BatchNorm if authors else None), noise_dim=config.noise,
            glo_fraction=config.glo_fraction, **fields,
        )  # fmt: skip
        optimizers = model.authors_optimizers() if authors else {}
    measured = partial(sample_metrics, config=config, data=data)
    drawable = plotting.drawable(train.head(1)["x"])
    plots = {"compared": partial(plot_samples, data=data._replace(train=train))} if drawable else {}
    return Experiment(
        model, optimizers=optimizers, data=data._replace(train=train), start=start, final_metrics=measured, plots=plots,
        draws=1,
    )  # fmt: skip


def sample_metrics(trained: TrainedModel, config: GLANNConfig, data: Splits) -> dict[str, float]:
    """`REPORTED` of samples in the extractor's features, and of GLO's as `gaussian ...`."""
    if config.extractor is None:
        return {}
    extractor, key, metrics = load_extractor(config.extractor), jax.random.key(config.seed), {}
    real = data.test.head(config.measured)["x"]
    for prefix, fake in samples(trained, key, len(real)).items():
        found = measure(real, fake, extractor, key).metrics
        metrics |= {f"{prefix}{name.replace('_', ' ')}": found[name] for name in REPORTED}
    return metrics


def samples(trained: TrainedModel, key: jax.Array, n: int) -> dict[str, np.ndarray]:
    """Of the model, under an empty name, and for GLANN of GLO."""
    drawn = {"": np.asarray(trained.sample(key, n))}
    if hasattr(trained.model, "gaussian_latents"):
        drawn["gaussian "] = np.asarray(trained.decode(trained.gaussian_latents(key, n)))
    return drawn


def plot_samples(trained: TrainedModel, data: Splits) -> Any:
    """Training examples and the generator at their latents, and samples."""
    drawn = samples(trained, jax.random.key(0), COLUMNS)
    rows = {"data": data.train.head(COLUMNS)["x"]}
    if "gaussian " in drawn:
        rows |= {"at their latents": np.asarray(trained.decode(trained.latents()[:COLUMNS])), "GLO": drawn["gaussian "]}
    return plotting.rows({**rows, "samples": drawn[""]})


if __name__ == "__main__":
    main(GLANNConfig, build)
