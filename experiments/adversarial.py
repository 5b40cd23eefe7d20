"""What experiments with adversarial networks share: settings, networks, figures of samples and pictures."""

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

from experiments.gans.extractor import load_extractor
from experiments.shell import Config, Experiment
from jaxgen import plotting
from jaxgen.contracts import Array, Batch, Key, Variables
from jaxgen.data import Splits, toys
from jaxgen.metrics import measure, mixture_figures, sample_distances
from jaxgen.metrics.report import quick_figures
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

COLUMNS = 10
"""Images in a row of a picture."""
MIXTURES = {
    "eight_gaussians": partial(mixture_figures, centers=toys.GAUSSIANS_8_CENTERS, std=toys.GAUSSIANS_8_STD),
    "twenty_five_gaussians": partial(mixture_figures, centers=toys.GAUSSIANS_25_CENTERS, std=toys.GAUSSIANS_25_STD),
    "gaussian_ring": partial(mixture_figures, centers=toys.GAUSSIAN_RING_CENTERS, std=toys.GAUSSIAN_RING_STD),
    "gaussian_grid": partial(mixture_figures, centers=toys.GAUSSIAN_GRID_CENTERS, std=toys.GAUSSIAN_GRID_STD),
}
"""Figures of samples of a known mixture, by the name of the data."""
AUGMENTATIONS = {"brightness": (Brightness(),), "translation": (Translation(),), "cutout": (Cutout(),)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdversarialConfig(Config):
    """The fields of an experiment with a generator and a critic; the defaults are DCGAN's."""

    steps: int = 10_000
    """Batches, one for each move of the critic."""
    batch_size: int = 64
    eval_every: int = 1_000
    eval_batch: int = 1_000
    eval_raw: bool = True
    checkpoint_every: int = 1_000
    network: Literal["dcgan", "residual", "dense"] = "dcgan"
    """Generator and critic; all but `dense` are for images."""
    width: int = 64
    """Channels at the highest resolution of a DCGAN, at every one of a residual network; units of a dense layer."""
    latents: int = 100
    """Dimension of the noise."""
    critic_steps: int = 1
    """Moves of the critic for one of the generator."""
    packing: int = 1
    """Rows that the critic scores together (PacGAN)."""
    learning_rate: float = 2e-4
    """Of the generator's Adam."""
    critic_rate: float = 2e-4
    """Of the critic's Adam."""
    b1: float = 0.5
    """Of both."""
    instance_noise: float = 0.0
    """Standard deviation of the noise on what the critic sees, which falls to zero over the run."""
    augment: tuple[Literal["brightness", "translation", "cutout"], ...] = ()
    """Differentiable augmentations of what the critic sees."""
    extractor: Path | None = None
    """The folder of a run of `experiments.gans.feature_extractor`: figures of features and classes beside the others."""
    measured: int = 2_000
    """Test rows and samples that those figures are of."""


def networks(
    config: AdversarialConfig, data: Splits, critic_norm: Callable[[], nn.Module] | None = BatchNorm
) -> tuple[nn.Module, nn.Module]:
    """The configured generator and critic, up to their last layers.

    Args:
        critic_norm: of a DCGAN's critic; None or `nn.LayerNorm` where rows must not meet in it.
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
    """What every game takes from the config, beside its networks and its own fields."""
    transforms = (InstanceNoise(config.instance_noise, config.steps),) if config.instance_noise else ()
    transforms += tuple(transform for name in config.augment for transform in AUGMENTATIONS[name])
    extracted = config.extractor is not None
    return {
        "event_shape": data.train.event_shape,
        "latent_dim": config.latents,
        "levels": data.train.levels,
        "packing": config.packing,
        "critic_steps": config.critic_steps,
        "transforms": transforms,
        "metrics": MIXTURES.get(config.data, sample_distances),
        "monitor": ("kernel_distance", "min") if extracted else ("sliced_wasserstein", "min"),
    }


def adam(config: AdversarialConfig, b1: float | None = None, b2: float = 0.999) -> dict[str, optax.GradientTransformation]:
    """Adam for both players, with the configured learning rates; `b1` replaces the configured one."""
    rates = {"critic": config.critic_rate, "generator": config.learning_rate}
    return {play: optax.adam(rate, config.b1 if b1 is None else b1, b2) for play, rate in rates.items()}


def experiment(config: AdversarialConfig, splits: Splits, model: GAN, **more: Any) -> Experiment:
    """The model's own game; with an extractor its figures on a schedule and, on the test split, all of them.

    The latter are in `measured.json` too, with the numbers of rows, the extractor's name and the split.

    Args:
        more: other fields of the `Experiment`; by default the optimizers are `adam(config)`.
    """
    more.setdefault("optimizers", adam(config))
    pictures = dict(more.pop("pictures", {}))
    if config.conditional and splits.train.classes is not None and plotting.drawable(splits.test.head(1)["x"]):
        pictures["classes"] = partial(by_class, splits.train.classes)
    if config.extractor is None:
        return Experiment(model, pictures=pictures, draws=1, **more)
    extractor = load_extractor(config.extractor)

    def scheduled(variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        fake = model.sample(variables, key, len(batch["x"]), batch.get("context"))
        return quick_figures(extractor.features_of(batch["x"]), extractor.features_of(fake), key)

    def report(bound: TrainedModel) -> dict[str, float]:
        rows = splits.test.head(config.measured)
        key = jax.random.key(config.seed)
        fake = bound.sample(key, len(rows["x"]), rows.get("context"))
        measured = measure(rows["x"], fake, extractor, key)
        if jax.process_index() == 0:
            text = json.dumps(dataclasses.asdict(measured), indent=1) + "\n"
            (config.out / "measured.json").write_text(text, encoding="utf-8")
        figures = dict(measured.figures)
        if rows.get("context") is not None and "label" in rows:
            seen = extractor.logits(fake).argmax(-1)
            figures["samples seen as their class"] = float((seen == rows["label"]).mean())
        return figures

    return Experiment(model, pictures=pictures, draws=1, scheduled=scheduled, report=report, **more)


def by_class(classes: int, bound: TrainedModel) -> Any:
    """A picture: a row of samples for each class, a column for each draw of the noise."""
    rows = {}
    for label in range(classes):
        context = np.eye(classes, dtype=np.float32)[np.full(COLUMNS, label)]
        rows[str(label)] = np.asarray(bound.sample(jax.random.key(0), COLUMNS, context))
    return plotting.rows(rows, "samples of each class")
