"""What experiments that maximise a likelihood share: settings of a first run, the optimizer, the baselines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import optax

from experiments.baselines import bits_per_dim, log_prob
from experiments.shell import Config, Experiment
from jaxgen.data import Splits
from jaxgen.models.flows.flow import Flow


@dataclass(frozen=True, kw_only=True)
class LikelihoodConfig(Config):
    """The fields of an experiment that maximises a likelihood; its defaults are those of a first run."""

    steps: int = 600
    ema: float = 0.99
    log_every: int = 20
    eval_every: int = 100
    eval_draws: int = 4
    checkpoint_every: int = 200
    learning_rate: float = 1e-3
    """Of the optimizer, after the warm-up."""
    warmup: int = 100
    """Steps in which the learning rate rises from zero, a tenth of all at the most."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """What the learning rate does afterwards: falls to zero along a cosine, or stays."""
    weight_decay: float = 0.0
    """Of AdamW."""
    clip: float = 50.0
    """The largest global norm of the gradients; a likelihood sums over the event."""


def optimizer(config: LikelihoodConfig) -> optax.GradientTransformation:
    """AdamW behind a clip of the gradients' norm, its rate rising linearly first."""
    warmup = min(config.warmup, config.steps // 10)
    if config.schedule == "cosine":
        rate = optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, warmup, config.steps)
    else:
        # optax takes a rise in no steps for one that never ends
        rate = optax.warmup_constant_schedule(0.0, config.learning_rate, warmup) if warmup else config.learning_rate
    return optax.chain(optax.clip_by_global_norm(config.clip), optax.adamw(rate, weight_decay=config.weight_decay))


def experiment(config: LikelihoodConfig, data: Splits, model: Flow) -> Experiment:
    """The model's own play with the configured optimizer; baselines in the units of its figures."""
    plays = {name: play._replace(optimizer=optimizer(config)) for name, play in model.plays().items()}
    if data.train.levels is None:
        return Experiment(model, plays, baselines=log_prob(data), draws=1)
    return Experiment(model, plays, baselines=bits_per_dim(data))


def image_shape(config: LikelihoodConfig, data: Splits) -> tuple[tuple[int, int, int], int]:
    """Height, width and channels, and the number of grey levels.

    Raises:
        ValueError: the data are not integer images.
    """
    event_shape, levels = data.train.event_shape, data.train.levels
    if len(event_shape) != 3 or levels is None:
        raise ValueError(
            f"data={config.data!r} has rows of shape {event_shape} and levels={levels}: integer images [H, W, C] are needed"
        )
    return event_shape, levels
