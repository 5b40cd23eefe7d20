"""The state of a run between two steps, as one pytree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from jaxgen.contracts import Array, Batch, Key, Model, Phase, Play, Variables


@struct.dataclass
class TrainState:
    """The state of a run.

    Attributes:
        step: int32 scalar, batches seen.
        phase_step: int32 scalar, batches seen since the phase began.
        key: the run's key; the key of step `i` is `fold_in(key, i)`.
        params: by player, what optimizers update.
        collections: by player, the other collections: batch statistics, memory, constants, ...
        average: by player, exponential moving averages of its variables.
        moves: by play, int32 scalar, its number of moves.
        opt_state: by play, its optimizer's state.
    """

    step: Array
    phase_step: Array
    key: Key
    params: Mapping[str, Any]
    collections: Mapping[str, Mapping[str, Any]]
    average: Variables
    moves: Mapping[str, Array]
    opt_state: Mapping[str, Any]

    @property
    def variables(self) -> Variables:
        """Every player's variables, not averaged."""
        return join(self.params, self.collections)


def join(params: Mapping[str, Any], collections: Mapping[str, Mapping[str, Any]]) -> Variables:
    """Joins parameters and other collections, by player."""
    return {player: {"params": params[player], **collections[player]} for player in params}


def split_params(variables: Variables) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The inverse of `join`; a player without parameters gets an empty mapping."""
    params = {player: dict(collections).get("params", {}) for player, collections in variables.items()}
    others = {p: {c: tree for c, tree in collections.items() if c != "params"} for p, collections in variables.items()}
    return params, others


def enter_phase(state: TrainState, phase: Phase, batch: Batch | None = None, index: int = 0) -> TrainState:
    """The state at the start of a phase: applies `phase.enter`; optimizers and counters start anew or are kept.

    Args:
        batch: the first examples of the phase's data, for `phase.enter`.
        index: of the phase in the run; its key is folded from it.

    Raises:
        ValueError: `phase.enter` changes the structure, shapes or dtypes of the variables; an optimizer to be kept does
            not fit its state.
    """
    if phase.enter is not None:
        key = jax.random.fold_in(jax.random.fold_in(state.key, index), 0xE17E2)
        variables, average = (phase.enter(v, batch, key) for v in (state.variables, state.average))
        for entered in (variables, average):
            if signature(entered) != signature(state.variables):
                raise ValueError("`Phase.enter` must keep the structure, shapes and dtypes of the variables")
        params, collections = split_params(variables)
        state = state.replace(params=params, collections=collections, average=average)
    moves = {name: jnp.int32(0) for name in phase.plays}
    opt_state = {name: _init_optimizer(state, play) for name, play in phase.plays.items()}
    if not phase.fresh_optimizers:
        for name in set(moves) & set(state.moves):
            if signature(opt_state[name]) != signature(state.opt_state[name]):
                raise ValueError(
                    f"`fresh_optimizers` must be True: play {name!r} has another optimizer or other players than before"
                )
            moves[name], opt_state[name] = state.moves[name], state.opt_state[name]
    return state.replace(phase_step=jnp.int32(0), moves=moves, opt_state=opt_state)


def _init_optimizer(state: TrainState, play: Play) -> Any:
    return play.optimizer.init({player: state.params[player] for player in play.players})


def signature(tree: Any) -> Any:
    """The structure, shapes and dtypes of a tree of arrays, or of their shapes and dtypes; equal for equal ones."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves]


def init_state(
    model: Model, plays: Mapping[str, Play], key: Key, batch: Batch, start: Variables | None = None
) -> TrainState:
    """The initial state.

    Args:
        batch: examples for data-dependent initialisation.
        start: variables by player that replace the initial ones of these players.

    Raises:
        ValueError: a play names a player that the model does not have; `start` does not fit the model.
    """
    init_key, run_key = jax.random.split(key)
    variables = {player: dict(collections) for player, collections in model.init(init_key, batch).items()}
    for player, collections in (start or {}).items():
        if player not in variables:
            raise ValueError(f"`start` must have players among {sorted(variables)}, got {player!r}")
        collections = {name: jax.tree.map(jnp.asarray, tree) for name, tree in collections.items()}
        if signature(collections) != signature(variables[player]):
            raise ValueError(f"`start` must have the structure, shapes and dtypes of the model's player {player!r}")
        variables[player] = collections
    for name, play in plays.items():
        if unknown := set(play.players) - set(variables):
            raise ValueError(f"play {name!r} must have players among {sorted(variables)}, got {sorted(unknown)}")
    params, collections = split_params(variables)
    fresh = TrainState(
        step=jnp.int32(0),
        phase_step=jnp.int32(0),
        key=run_key,
        params=params,
        collections=collections,
        average=jax.tree.map(jnp.copy, join(params, collections)),
        moves={},
        opt_state={},
    )
    return enter_phase(fresh, Phase(plays, 0))
