"""Shared by experiments that maximise a likelihood: config, optimizer, baselines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import optax

from experiments.config import Config, Experiment
from jaxgen.data import Splits
from jaxgen.data.baselines import bits_per_dim, log_prob
from jaxgen.models.flows.flow import Flow
from jaxgen.training.ranges import Count, Fraction, Natural, NonNegative


@dataclass(frozen=True, kw_only=True)
class LikelihoodConfig(Config):
    """The fields of an experiment that maximises a likelihood; the defaults are for a short first run."""

    steps: Count = 600
    ema: Fraction = 0.99
    log_every: Count = 20
    eval_every: Count = 100
    eval_draws: Count = 4
    checkpoint_every: Count = 200
    learning_rate: NonNegative = 1e-3
    """AdamW's learning rate, after the warm-up."""
    warmup: Natural = 100
    """Steps in which the learning rate rises linearly from zero, at most a tenth of `steps`."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Learning rate after the warm-up: cosine decay to zero, or constant."""
    weight_decay: NonNegative = 0.0
    """AdamW's weight decay."""
    clip: NonNegative = 50.0
    """Maximum global norm of the gradients of log-likelihoods, summed over the event."""


def optimizer(config: LikelihoodConfig) -> optax.GradientTransformation:
    """AdamW with gradient clipping, a linear warm-up and the configured schedule."""
    warmup = min(config.warmup, config.steps // 10)
    if config.schedule == "cosine":
        rate = optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, warmup, config.steps)
    else:
        # with zero warm-up steps optax keeps the initial value
        rate = optax.warmup_constant_schedule(0.0, config.learning_rate, warmup) if warmup else config.learning_rate
    return optax.chain(optax.clip_by_global_norm(config.clip), optax.adamw(rate, weight_decay=config.weight_decay))


def experiment(config: LikelihoodConfig, data: Splits, model: Flow, **more: Any) -> Experiment:
    """The model with the configured optimizer, and baselines in the units of its metrics.

    Args:
        more: other fields of the `Experiment`.
    """
    fields = {"optimizers": dict.fromkeys(model.plays(), optimizer(config))}
    if data.train.levels is None:
        fields |= {"baselines": log_prob(data), "draws": 1}
    else:
        fields["baselines"] = bits_per_dim(data)
    return Experiment(model, **fields | more)


def image_shape(config: LikelihoodConfig, data: Splits) -> tuple[tuple[int, int, int], int]:
    """Height, width and channels, and the number of grey levels.

    Raises:
        ValueError: the data are not integer images.
    """
    event_shape, levels = data.train.event_shape, data.train.levels
    if len(event_shape) != 3 or levels is None:
        raise ValueError(
            f"`data` must hold integer images [H, W, C], got {config.data!r} with examples of shape {event_shape} and "
            f"levels={levels}"
        )
    return event_shape, levels
