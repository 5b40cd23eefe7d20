"""Seeds side by side in one compiled program: a state whose leaves, except its steps, have a leading axis of seeds.

Steps have no such axis, so that a play that does not move is not computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from jaxgen.training.state import TrainState

AXES = TrainState(step=None, phase_step=None, key=0, params=0, collections=0, average=0, moves=0, opt_state=0)
"""The axes of seeds of a state, for `jax.vmap`."""


def over_seeds(function: Callable, *others: int | None, out_axes: tuple = ()) -> Callable:
    """Maps `function(state, ...) -> state`, or a tuple whose first entry is the state, over seeds.

    Args:
        others: the axes of seeds of the other arguments; None for arguments that all seeds share.
        out_axes: the axes of seeds of the results after the state.
    """
    return jax.vmap(function, (AXES, *others), (AXES, *out_axes) if out_axes else AXES)


def stack_states(states: Sequence[TrainState]) -> TrainState:
    """Stacks the states of several seeds, all at the same step."""
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    return stacked.replace(step=states[0].step, phase_step=states[0].phase_step)


def select_seed(state: TrainState, i: int | jax.Array) -> TrainState:
    """The state of seed number `i`."""
    selected = jax.tree.map(lambda a: a[i], state.replace(step=None, phase_step=None))
    return selected.replace(step=state.step, phase_step=state.phase_step)
