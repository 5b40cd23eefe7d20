"""Metrics of training steps: the check that they are finite, and their means between two lines of `metrics.jsonl`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxgen.training.folder import RunFolder
from jaxgen.training.step import Metrics


class NonFiniteLoss(FloatingPointError):
    """A loss or a gradient's norm is not finite: the run stopped; its last checkpoint precedes that step."""


class MetricMeans:
    """Means of step metrics since the last line, over the steps at which the play moved.

    `totals` holds `"play/metric": [sum, count]` and goes through JSON unchanged, so that a resumed run finishes the
    line that was begun.
    """

    def __init__(self, totals: Mapping[str, Any] | None = None):
        self.totals = {name: list(pair) for name, pair in (totals or {}).items()}

    def add(self, metrics: Metrics) -> None:
        """Adds metrics with a leading axis of steps."""
        for play, values in metrics.items():
            played = values["played"] > 0
            for name, value in values.items():
                if name not in ("played", "skipped") and played.any():
                    # one by one: the sum does not depend on how steps were cut into calls
                    pair = self.totals.setdefault(f"{play}/{name}", [0.0, 0])
                    for v in value[played].tolist():
                        pair[0] += v
                    pair[1] += int(played.sum())

    def take(self) -> dict[str, float]:
        """The means since the last call."""
        means = {name: total / count for name, (total, count) in self.totals.items()}
        self.totals = {}
        return means


def slice_steps(metrics: Metrics, first: int, end: int) -> Metrics:
    """The metrics of the steps `first` to `end` (exclusive) of a call."""
    return jax.tree.map(lambda a: a[first:end], metrics)


def check_finite(metrics: Metrics, step: int, folder: RunFolder | None) -> None:
    """Raises `NonFiniteLoss` if a play that moved has a loss or gradient that is not finite.

    Args:
        metrics: with a leading axis of steps, the first of which is `step`.
        folder: the run's, for the message.
    """
    first = None
    for play, values in metrics.items():
        # a non-finite gradient damages the state even if the loss is still finite
        finite = np.isfinite(values["loss"]) & np.isfinite(values["grad_norm"])
        bad = np.flatnonzero((values["played"] > 0) & ~finite)
        if bad.size and (first is None or bad[0] < first[0]):
            first = bad[0], play
    if first is not None:
        i, play = first
        values = {name: float(value[i]) for name, value in metrics[play].items()}
        saved = "" if folder is None else f"; the last checkpoint in {folder.checkpoints} precedes that step"
        raise NonFiniteLoss(
            f"the loss or gradient of play {play!r} is not finite at step {step + int(i)}: {values}{saved}"
        )
