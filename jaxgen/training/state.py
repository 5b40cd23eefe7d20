"""Everything a run carries from one step to the next, as one pytree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from jaxgen.contracts import Array, Batch, Key, Model, Play, Variables


@struct.dataclass
class TrainState:
    """The state of a run.

    Attributes:
        step: int32 scalar, batches seen.
        key: the run's key; the key of step `i` is `fold_in(key, i)`.
        params: by player, what optimizers move.
        state: by player, the other collections: batch statistics, constants, ...
        average: by player, exponential moving averages of all of its variables.
        moves: by play, int32 scalar, how often it has moved.
        opt_state: by play, its optimizer's state.
    """

    step: Array
    key: Key
    params: Mapping[str, Any]
    state: Mapping[str, Mapping[str, Any]]
    average: Variables
    moves: Mapping[str, Array]
    opt_state: Mapping[str, Any]

    @property
    def variables(self) -> Variables:
        """Every player's variables as the optimizers left them."""
        return join(self.params, self.state)


def join(params: Mapping[str, Any], state: Mapping[str, Mapping[str, Any]]) -> Variables:
    """Puts parameters and other collections together again, by player."""
    return {player: {"params": params[player], **state[player]} for player in params}


def enter_phase(state: TrainState, plays: Mapping[str, Play]) -> TrainState:
    """The state at the start of a phase: the same variables, and each play's optimizer and counter at their start."""
    return state.replace(
        moves={name: jnp.int32(0) for name in plays},
        opt_state={
            name: play.optimizer.init({player: state.params[player] for player in play.players})
            for name, play in plays.items()
        },
    )


def init_state(model: Model, plays: Mapping[str, Play], key: Key, batch: Batch) -> TrainState:
    """A fresh state.

    Args:
        batch: rows for the layers that look at data when they are initialised.

    Raises:
        ValueError: a play names a player that the model does not have.
    """
    init_key, run_key = jax.random.split(key)
    variables = model.init(init_key, batch)
    for name, play in plays.items():
        if unknown := set(play.players) - set(variables):
            raise ValueError(f"play {name!r} moves {sorted(unknown)}, but the model's players are {sorted(variables)}")
    params = {player: dict(collections).get("params", {}) for player, collections in variables.items()}
    state = {p: {c: tree for c, tree in collections.items() if c != "params"} for p, collections in variables.items()}
    fresh = TrainState(
        step=jnp.int32(0),
        key=run_key,
        params=params,
        state=state,
        average=jax.tree.map(jnp.copy, join(params, state)),
        moves={},
        opt_state={},
    )
    return enter_phase(fresh, plays)
