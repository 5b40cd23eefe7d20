"""What the whole package agrees on: variables, plays of a game, a loss's output, a model.

A *player* is a named set of parameters; a *play* is one move of the game, which trains some players by one loss.
A flow or a VAE is a game of one play, a GAN has two, and one train step serves them all (`jaxgen.training.step`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import optax
from flax import struct

Array = jax.Array
Key = jax.Array
Step = jax.Array
"""int32 scalar: the number of batches seen before this one."""
Collections = Mapping[str, Any]
"""One player's variables by collection: `params`, and where it has them `batch_stats`, `constants`, ..."""
Variables = Mapping[str, Collections]
"""All players' variables: `{"critic": {"params": ..., "batch_stats": ...}, "generator": {"params": ...}}`."""
Batch = Mapping[str, Any]
"""Arrays that share their first axis: `"x"` the data, and where there are any `"label"` (integers) and `"context"`.

Several sources give a mapping of batches, one entry a source, each with its own first axis.
"""


@struct.dataclass
class LossOutput:
    """What a play's loss returns.

    Attributes:
        value: scalar, what the play's players minimise.
        metrics: scalars to report beside it.
        state: what learns without a gradient, `{player: {collection: new value}}`; it replaces those collections and
            leaves the others. Batch statistics, an equilibrium variable, a codebook's averages.
    """

    value: Array
    metrics: Mapping[str, Array] = struct.field(default_factory=dict)
    state: Mapping[str, Mapping[str, Any]] = struct.field(default_factory=dict)


def always(step: Step) -> bool:
    """A play that moves at each step."""
    return True


class every(NamedTuple):
    """A play that moves on the last of each `n` steps, from step `start` on and before step `stop`.

    `every(5)` moves at steps 4, 9, 14, ...: after five moves of the plays that move always.
    """

    n: int = 1
    start: int = 0
    stop: int | None = None

    def __call__(self, step: Step) -> Array:
        on = (step >= self.start) & ((step - self.start) % self.n == self.n - 1)
        return on if self.stop is None else on & (step < self.stop)


class Play(NamedTuple):
    """One move of the game: whose parameters move, down which loss, by which optimizer, at which steps.

    `loss(variables, batch, key, step)` sees every player's variables; only the parameters of `players` are
    differentiated. `mean_over_rows` says that it is a mean over the rows of a batch, so that the gradient of a batch is
    the mean of its parts' gradients; it is none where rows meet: in pairs, packs, estimates of a batch's moments.
    """

    players: tuple[str, ...]
    loss: Callable[[Variables, Batch, Key, Step], LossOutput]
    optimizer: optax.GradientTransformation
    when: Callable[[Step], Any] = always
    mean_over_rows: bool = True


@runtime_checkable
class Model(Protocol):
    """An immutable description of networks, losses and what can be done with them; its variables live outside.

    Whatever else a model offers has the same name everywhere: `log_prob`, `sample_and_log_prob`, `encode`, `decode`,
    `reconstruct`, `translate`, `anomaly_score`; each takes the variables first.
    """

    @property
    def monitor(self) -> tuple[str, str]:
        """The figure of `evaluate` that says which checkpoint is best, and its direction: `"min"` or `"max"`."""

    def init(self, key: Key, batch: Batch) -> Variables:
        """Draws every player's variables; layers that look at data look at `batch`."""

    def plays(self) -> Mapping[str, Play]:
        """The paper's game with the paper's optimizers, in playing order."""

    def sample(self, variables: Variables, key: Key, n: int, context: Array | None = None) -> Array:
        """`n` samples in data units. A model that generates nothing has no such method, and a run of it no pictures."""

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """The model's honest figures on a batch: scalars, means over its rows."""
