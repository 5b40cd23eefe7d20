"""Seeds side by side in one compiled program: a state whose leaves, except its steps, have a leading axis of seeds.

Steps have no such axis, so that a play that rests is not computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from jaxgen.training.state import TrainState

AXES = TrainState(step=None, phase_step=None, key=0, params=0, collections=0, average=0, moves=0, opt_state=0)
"""Of a state, for `jax.vmap`."""


def over_seeds(function: Callable, *others: int | None, gives: tuple = ()) -> Callable:
    """Maps `function(state, ...) -> state`, or a tuple whose first entry is the state, over seeds.

    Args:
        others: the axes of seeds of the other arguments; None for what all seeds share.
        gives: the axes of seeds of the results after the state.
    """
    return jax.vmap(function, (AXES, *others), (AXES, *gives) if gives else AXES)


def stack(states: Sequence[TrainState]) -> TrainState:
    """One state of many, all at the same step."""
    together = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    return together.replace(step=states[0].step, phase_step=states[0].phase_step)


def one(state: TrainState, i: int | jax.Array) -> TrainState:
    """That of one seed."""
    each = jax.tree.map(lambda a: a[i], state.replace(step=None, phase_step=None))
    return each.replace(step=state.step, phase_step=state.phase_step)
