"""The contracts of the package: variables, plays of a game, a loss's output, phases of a run, a model.

A *player* is a named set of parameters; a *play* is one move of the game, which trains some players with one loss.
A flow or a VAE is a game with one play, a GAN has two, and one train step serves them all (`jaxgen.training.step`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import optax
from flax import struct

__all__ = [
    "Array", "Batch", "Clock", "Collections", "Every", "Key", "LossOutput", "Model", "Phase", "Play", "Variables",
    "model_phases",
]  # fmt: skip

Array = jax.Array
Key = jax.Array
Collections = Mapping[str, Any]
"""One player's variables by collection: `params`, and optionally `batch_stats`, `constants`, ..."""
Variables = Mapping[str, Collections]
"""All players' variables: `{"critic": {"params": ..., "batch_stats": ...}, "generator": {"params": ...}}`."""
Batch = Mapping[str, Any]
"""Arrays with a common first axis: the data `"x"`, and optionally `"label"` (integers) and `"context"`.

Several sources give a mapping of batches, one entry per source, each with its own first axis.
"""


class Clock(NamedTuple):
    """Counters that losses and schedules may depend on, int32 scalars; `Clock()` is a run's first step.

    Attributes:
        step: batches seen by the run before this one.
        phase_step: batches seen by the phase before this one.
        moves: previous moves of this play.
    """

    step: Array | int = 0
    phase_step: Array | int = 0
    moves: Array | int = 0


@struct.dataclass
class LossOutput:
    """The output of a play's loss.

    `statistics` and `memory` are collections updated without gradients, `{player: {collection: new value}}`;
    collections that they leave out stay as they are.

    Attributes:
        value: scalar that the play's players minimise.
        metrics: scalars to report beside `value`.
        statistics: batch statistics and the like: averaged over devices and by the moving averages of the variables.
        memory: image pools, earlier parameters, equilibrium and dual variables: never averaged.
    """

    value: Array
    metrics: Mapping[str, Array] = struct.field(default_factory=dict)
    statistics: Mapping[str, Mapping[str, Any]] = struct.field(default_factory=dict)
    memory: Mapping[str, Mapping[str, Any]] = struct.field(default_factory=dict)


class Every(NamedTuple):
    """Runs a play every `n` steps of a phase from `start` until `stop` (exclusive), on the last of each `n`.

    `Every(5)` runs at steps 4, 9, 14, ...: after five moves of the plays that run at each step.
    """

    n: int = 1
    start: int = 0
    stop: int | None = None

    def __call__(self, clock: Clock) -> Array:
        step = clock.phase_step
        on = (step >= self.start) & ((step - self.start) % self.n == self.n - 1)
        return on if self.stop is None else on & (step < self.stop)


class Play(NamedTuple):
    """One move of the game.

    Attributes:
        players: the players that it trains: the loss is differentiated with respect to their parameters.
        loss: `(variables, batch, key, clock) -> LossOutput`, with every player's variables.
        optimizer: the paper's; `fit(optimizers={name: ...})` replaces it.
        when: `clock -> bool`, whether the play runs at a step, for example `Every(5)`; None: at each step.
        accumulates: whether the loss is a mean over examples, so that the gradient of a batch is the mean of its parts'
            gradients. False if examples interact (pairs, packing, batch moments) or if that is not proven.
    """

    players: tuple[str, ...]
    loss: Callable[[Variables, Batch, Key, Clock], LossOutput]
    optimizer: optax.GradientTransformation
    when: Callable[[Clock], Array] | None = None
    accumulates: bool = False


class Phase(NamedTuple):
    """A part of a run. A run is a sequence of phases on one state: each continues with the variables and averages of
    the previous one.

    Attributes:
        plays: the game of this phase.
        steps: batches to train on.
        data: a source; None: the run's.
        batch_size: None: the run's.
        enter: `(variables, batch, key) -> variables` with the same structure, applied once at the start of the phase to
            the variables and to their averages. `batch` holds the first examples of the phase's data.
        monitor: the metric that chooses the best variables of this phase, and its direction; None: the model's.
        fresh_optimizers: whether optimizers and move counters start anew. If False, plays with the name of a play in
            the previous phase keep theirs.
    """

    plays: Mapping[str, Play]
    steps: int
    data: Any = None
    batch_size: Any = None
    enter: Callable[[Variables, Batch, Key], Variables] | None = None
    monitor: tuple[str, str] | None = None
    fresh_optimizers: bool = True


@runtime_checkable
class Model(Protocol):
    """An immutable description of networks, losses and methods; its variables are separate.

    Optional methods have the same name in every model and take the variables first: `sample(variables, key, n,
    context=None)`, `log_prob`, `sample_and_log_prob`, `encode`, `decode`, `reconstruct`, `translate`, `anomaly_score`.
    Runs of models without `sample` write no samples. The optional `phases(steps)` returns the paper's schedule
    (`model_phases`).
    """

    @property
    def monitor(self) -> tuple[str, str]:
        """The metric of `evaluate` that chooses the best checkpoint, and its direction: `"min"` or `"max"`."""

    def init(self, key: Key, batch: Batch) -> Variables:
        """Initialises every player's variables, data-dependent layers from `batch`."""

    def plays(self) -> Mapping[str, Play]:
        """The paper's plays with the paper's optimizers, in playing order."""

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """Evaluation metrics on a batch: scalars, means over its examples."""


def model_phases(model: Model, steps: int) -> tuple[Phase, ...]:
    """The phases of a run of `steps` steps: `model.phases(steps)`, or one phase of `model.plays()`.

    Raises:
        ValueError: the model's phases do not add up to `steps`.
    """
    if not hasattr(model, "phases"):
        return (Phase(model.plays(), steps),)
    phases = tuple(model.phases(steps))
    if (total := sum(phase.steps for phase in phases)) != steps:
        raise ValueError(f"`{type(model).__name__}.phases` must add up to steps={steps}, got {total}")
    return phases
