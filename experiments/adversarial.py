"""Shared by experiments with adversarial networks: config, networks, optimizers, metrics and plots of samples."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import optax
from flax import linen as nn

from experiments.config import Config, Experiment
from jaxgen import plotting
from jaxgen.contracts import Array, Batch, Key, Variables
from jaxgen.data import Splits, toys
from jaxgen.metrics import measure, mixture_metrics, sample_distances
from jaxgen.metrics.report import quick_metrics
from jaxgen.models.gans import GAN, residual_networks
from jaxgen.nets import (
    MLP,
    Brightness,
    Cutout,
    DCGANCritic,
    DCGANGenerator,
    InstanceNoise,
    Translation,
)
from jaxgen.nets.decoders import halved, halvings
from jaxgen.nets.normalization import BatchNorm
from jaxgen.training import TrainedModel
from jaxgen.training.extractor import load_extractor
from jaxgen.training.ranges import Count, Fraction, NonNegative

COLUMNS = 10
"""Images in a row of a plot."""
MIXTURES = {
    "eight_gaussians": partial(mixture_metrics, centers=toys.GAUSSIANS_8_CENTERS, std=toys.GAUSSIANS_8_STD),
    "twenty_five_gaussians": partial(mixture_metrics, centers=toys.GAUSSIANS_25_CENTERS, std=toys.GAUSSIANS_25_STD),
    "gaussian_ring": partial(mixture_metrics, centers=toys.GAUSSIAN_RING_CENTERS, std=toys.GAUSSIAN_RING_STD),
    "gaussian_grid": partial(mixture_metrics, centers=toys.GAUSSIAN_GRID_CENTERS, std=toys.GAUSSIAN_GRID_STD),
}
"""Metrics of samples of a known mixture, by the name of the data."""
Optimizers = Mapping[str, optax.GradientTransformation]
AUGMENTATIONS = {"brightness": (Brightness(),), "translation": (Translation(),), "cutout": (Cutout(),)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdversarialConfig(Config):
    """The fields of an experiment with a generator and a critic; the defaults are DCGAN's."""

    steps: Count = 10_000
    """Batches, each with one critic update."""
    batch_size: Count = 64
    eval_every: Count = 1_000
    eval_batch: Count = 1_000
    eval_raw: bool = True
    checkpoint_every: Count = 1_000
    network: Literal["dcgan", "residual", "dense"] = "dcgan"
    """Networks of generator and critic; all but `dense` expect images."""
    width: Count = 64
    """Channels at the highest resolution (DCGAN) or at all resolutions (residual); units of a dense layer."""
    latents: Count = 100
    """Dimension of the noise."""
    critic_steps: Count = 1
    """Critic updates per generator update."""
    packing: Count = 1
    """Examples that the critic scores together (PacGAN)."""
    learning_rate: NonNegative = 2e-4
    """Learning rate of the generator's Adam."""
    critic_rate: NonNegative = 2e-4
    """Learning rate of the critic's Adam."""
    b1: Fraction = 0.5
    """Adam's beta_1, for both players."""
    instance_noise: NonNegative = 0.0
    """Standard deviation of noise added to the critic's inputs; decays linearly to zero over the run."""
    augment: tuple[Literal["brightness", "translation", "cutout"], ...] = ()
    """Differentiable augmentations of the critic's inputs."""
    extractor: Path | None = None
    """Run folder of `experiments.gans.feature_extractor`; adds metrics of its features and classes."""
    measured: Count = 2_000
    """Number of test examples and of samples for those metrics."""


def networks(
    config: AdversarialConfig, data: Splits, critic_norm: Callable[[], nn.Module] | None = BatchNorm
) -> tuple[nn.Module, nn.Module]:
    """The configured generator and critic, without their last layers.

    Args:
        critic_norm: normalisation of a DCGAN's critic; None or `nn.LayerNorm` if its loss needs independent examples.
    """
    shape, width = data.train.event_shape, config.width
    if config.network == "dense":
        return MLP((width,) * 3), MLP((width,) * 3, nn.leaky_relu)
    if config.network == "residual":
        return residual_networks(shape, width)
    doublings = halvings(shape)
    widths = tuple(width << i for i in range(doublings))
    return DCGANGenerator(halved(shape, doublings), widths[::-1]), DCGANCritic(widths, norm=critic_norm)


def fields(config: AdversarialConfig, data: Splits) -> dict[str, Any]:
    """The fields of a `GAN` that the config sets, except its networks."""
    transforms = (InstanceNoise(config.instance_noise, config.steps),) if config.instance_noise else ()
    transforms += tuple(transform for name in config.augment for transform in AUGMENTATIONS[name])
    return {
        "event_shape": data.train.event_shape,
        "latent_dim": config.latents,
        "levels": data.train.levels,
        "packing": config.packing,
        "critic_steps": config.critic_steps,
        "transforms": transforms,
        "metrics": MIXTURES.get(config.data, sample_distances),
        "monitor": ("kernel_distance" if config.extractor else "sliced_wasserstein", "min"),
    }


def adam_optimizers(config: AdversarialConfig, b2: float = 0.999, decay: bool = False) -> Optimizers:
    """Adam for both players, with the config's rates and `b1`; with `decay`, the rates fall linearly to zero."""

    def adam(rate: float, updates: int) -> optax.GradientTransformation:
        return optax.adam(optax.linear_schedule(rate, 0.0, updates) if decay else rate, config.b1, b2)

    updates = config.steps // config.critic_steps
    return {"critic": adam(config.critic_rate, config.steps), "generator": adam(config.learning_rate, updates)}


def experiment(
    config: AdversarialConfig, splits: Splits, model: GAN, optimizers: Optimizers | None = None, **more: Any
) -> Experiment:
    """The model's own game; with an extractor, metrics of its features at each evaluation and on the test split.

    The latter are written to `measured.json` too, with the numbers of examples, the extractor's name and the split.

    Args:
        optimizers: by play; None: `adam_optimizers(config)`.
        more: other fields of the `Experiment`; `plots` and `final_metrics` are added to those here.
    """
    plots, more_metrics = dict(more.pop("plots", {})), more.pop("final_metrics", None)
    if config.conditional and splits.train.num_classes is not None and plotting.drawable(splits.test.head(1)["x"]):
        plots["classes"] = partial(plot_classes, splits.train.num_classes)
    more = {"optimizers": adam_optimizers(config) if optimizers is None else optimizers, "draws": 1, **more}
    if config.extractor is None:
        return Experiment(model, plots=plots, final_metrics=more_metrics, **more)
    extractor = load_extractor(config.extractor)

    def validation_metrics(variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        fake = model.sample(variables, key, len(batch["x"]), batch.get("context"))
        return quick_metrics(extractor.features_of(batch["x"]), extractor.features_of(fake), key)

    def final_metrics(trained: TrainedModel) -> dict[str, float]:
        head = splits.test.head(config.measured)
        key, context = jax.random.key(config.seed), head.get("context")
        fake = trained.sample(key, len(head["x"]), context)
        measured = measure(head["x"], fake, extractor, key)
        if jax.process_index() == 0:
            text = json.dumps(dataclasses.asdict(measured), indent=1) + "\n"
            (config.out / "measured.json").write_text(text, encoding="utf-8")
        metrics = dict(measured.metrics)
        if context is not None and "label" in head:
            recognised = extractor.logits(fake).argmax(-1)
            metrics["class accuracy of samples"] = float((recognised == head["label"]).mean())
        return metrics | dict(more_metrics(trained) if more_metrics else {})

    return Experiment(model, plots=plots, validation_metrics=validation_metrics, final_metrics=final_metrics, **more)


def plot_classes(num_classes: int, trained: TrainedModel) -> Any:
    """A row of samples for each class, with the same noise in each column."""
    rows = {}
    for label in range(num_classes):
        context = np.eye(num_classes, dtype=np.float32)[np.full(COLUMNS, label)]
        rows[str(label)] = np.asarray(trained.sample(jax.random.key(0), COLUMNS, context))
    return plotting.rows(rows, "samples of each class")
