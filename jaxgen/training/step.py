"""One train step for every game: a pure function `(state, batch) -> (state, metrics)`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxgen.contracts import Array, Batch, Key, Play
from jaxgen.precision import networks_in
from jaxgen.training.state import TrainState, join

Metrics = Mapping[str, Mapping[str, Array]]
"""By play: `loss`, `grad_norm`, the loss's own metrics, and `played`: 1 where it moved, else 0 and the rest zeros."""
TrainStep = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


def _average(old: Any, new: Any, decay: Array) -> Any:
    """Moves averages of floating leaves towards the new values; others are taken over as they are."""

    def blend(o, n):
        return jnp.asarray(decay * o + (1 - decay) * n, n.dtype) if jnp.issubdtype(n.dtype, jnp.floating) else n

    return jax.tree.map(blend, old, new)


class Way(NamedTuple):
    """How a play moves, whichever it is: see `make_train_step`."""

    ema: float
    axis_name: str | None
    accumulate: int
    skip_non_finite: bool


def _gradient(s: TrainState, batch: Batch, key: Key, play: Play) -> tuple[Any, dict[str, Array], Mapping[str, Any]]:
    """Of a play's own players; its metrics; the state that it leaves without a gradient."""

    def loss(mine):
        out = play.loss(join({**s.params, **mine}, s.state), batch, key, s.step)
        return out.value, out

    grads, out = jax.grad(loss, has_aux=True)({player: s.params[player] for player in play.players})
    return grads, {"loss": out.value, **out.metrics}, out.state


def _accumulated(
    s: TrainState, batch: Batch, key: Key, name: str, play: Play, parts: int
) -> tuple[Any, dict[str, Array], Mapping[str, Any]]:
    """`_gradient` as the mean over parts of the batch, one after another, each with noise of its own."""
    if not play.mean_over_rows:
        raise ValueError(
            f"accumulate={parts}: the loss of play {name!r} is no mean over rows, so that the gradient of a batch is not "
            "the mean of its parts'"
        )

    def part(a: Array) -> Array:
        if a.shape[0] % parts:
            raise ValueError(f"a batch of {a.shape[0]} rows cannot be divided into accumulate={parts} parts")
        # every parts-th row: where the batch is split over devices, each keeps its own
        return jnp.asarray(a).reshape(a.shape[0] // parts, parts, *a.shape[1:]).swapaxes(0, 1)

    divided, keys = jax.tree.map(part, batch), jax.random.split(key, parts)

    def of(i):
        return _gradient(s, jax.tree.map(lambda a: a[i], divided), keys[i], play)

    shapes = jax.eval_shape(of, 0)
    if jax.tree.leaves(shapes[2]):
        raise ValueError(
            f"accumulate={parts}: play {name!r} changes state without a gradient, batch statistics for one, which is of a "
            "whole batch"
        )
    empty = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes[:2])
    total = lax.fori_loop(0, parts, lambda i, sums: jax.tree.map(jnp.add, sums, of(i)[:2]), empty)
    return *jax.tree.map(lambda a: a / parts, total), {}


def _move(s: TrainState, batch: Batch, key: Key, name: str, play: Play, way: Way):
    """One play moves: gradient, optimizer, state without gradients, averages."""
    before, axis_name = s, way.axis_name
    mine = {player: s.params[player] for player in play.players}
    if way.accumulate == 1:
        grads, metrics, changed = _gradient(s, batch, key, play)
    else:
        grads, metrics, changed = _accumulated(s, batch, key, name, play, way.accumulate)
    if axis_name is not None:
        grads, metrics = lax.pmean((grads, metrics), axis_name)
        changed = jax.tree.map(
            lambda a: lax.pmean(a, axis_name) if jnp.issubdtype(a.dtype, jnp.floating) else a, changed
        )
    updates, opt_state = play.optimizer.update(grads, s.opt_state[name], mine)
    params = {**s.params, **optax.apply_updates(mine, updates)}
    state = {player: {**collections, **changed.get(player, {})} for player, collections in s.state.items()}
    # Young averages follow closely: their memory is a tenth of the moves so far until it reaches the full one.
    moves = s.moves[name] + 1
    decay = jnp.minimum(way.ema, moves / (moves + 9.0))
    touched = {player: v for player, v in join(params, state).items() if player in mine or player in changed}
    average = {**s.average, **_average({p: s.average[p] for p in touched}, touched, decay)}
    s = s.replace(
        params=params,
        state=state,
        average=average,
        moves={**s.moves, name: moves},
        opt_state={**s.opt_state, name: opt_state},
    )
    metrics = {**metrics, "grad_norm": optax.tree.norm(grads), "played": jnp.int32(1)}
    if way.skip_non_finite:
        good = jnp.isfinite(metrics["loss"]) & jnp.isfinite(metrics["grad_norm"])
        s = jax.tree.map(lambda new, old: jnp.where(good, new, old), s.replace(step=None), before.replace(step=None))
        s = s.replace(step=before.step)
        # of a move that was not made nothing is reported but that
        metrics = {name: jnp.where(good, value, jnp.zeros_like(value)) for name, value in metrics.items()}
        metrics["skipped"] = jnp.int32(~good)
    return s, metrics


def make_train_step(
    plays: Mapping[str, Play],
    ema: float = 0.999,
    axis_name: str | None = None,
    accumulate: int = 1,
    skip_non_finite: bool = False,
    precision: Any = None,
) -> TrainStep:
    """The step of a game: its plays in order, each on the variables that the ones before it left.

    Args:
        plays: by name; a model's own are `model.plays()`.
        ema: decay of the averages a move; 0 keeps none (they equal the variables).
        axis_name: for the per-device view of `jax.pmap`: gradients, metrics and floating state are averaged over it,
            and each device draws noise of its own. None is the global view: the batch is the whole batch.
        accumulate: parts of a batch whose gradients are taken one after another, in as much memory as one, and averaged.
        skip_non_finite: a move whose loss or gradient is not finite leaves the play's players, state, optimizer and
            averages as they were, and counts as `skipped` in place of `played`.
        precision: the dtype that networks compute in, jnp.bfloat16 for one (`jaxgen.precision`); None for their own.

    Returns:
        A pure function. The key of step `i` is `fold_in(state.key, i)`, that of its play `j` `fold_in(that, j)`. A play
        that does not move leaves its optimizer as it was and reports zeros with `played` 0.

    Raises:
        ValueError: when traced, with `accumulate`: a play whose loss is no mean over rows, or that changes state without
            a gradient; a batch that cannot be divided.
    """

    way = Way(ema, axis_name, accumulate, skip_non_finite)

    @networks_in(precision)
    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        step_key = jax.random.fold_in(state.key, state.step)
        if axis_name is not None:
            step_key = jax.random.fold_in(step_key, lax.axis_index(axis_name))
        metrics = {}
        for i, (name, play) in enumerate(plays.items()):
            key = jax.random.fold_in(step_key, i)

            def move(s, name=name, play=play, key=key):
                return _move(s, batch, key, name, play, way)

            def rest(s, move=move):
                shapes = jax.eval_shape(move, s)[1]
                return s, jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)

            on = play.when(state.step)
            if on is True:
                state, metrics[name] = move(state)
            else:
                state, metrics[name] = lax.cond(on, move, rest, state)
        return state.replace(step=state.step + 1), metrics

    return train_step


def many_steps(train_step: TrainStep, capacity: int) -> Callable:
    """Up to `capacity` steps in one call, on data that are on the device.

    Returns:
        `(state, arrays, indices, n) -> (state, metrics)`: `arrays` is a batch of all rows, `indices` has leaves
        int32[capacity, batch], of which the first `n` rows are used; metrics have a leading axis of `capacity`, of
        which the first `n` entries count. `n` is an argument of the compiled function: however the steps of a run are
        cut into calls, the same code computes each of them.
    """

    def run(state: TrainState, arrays: Batch, indices: Any, n: Array) -> tuple[TrainState, Metrics]:
        def step(state, i):
            return train_step(state, gather(arrays, jax.tree.map(lambda a: a[i], indices)))

        shapes = jax.eval_shape(step, state, 0)[1]
        empty = jax.tree.map(lambda a: jnp.zeros((capacity, *a.shape), a.dtype), shapes)

        def body(i, carry):
            state, filled = carry
            state, metrics = step(state, i)
            return state, jax.tree.map(lambda f, m: f.at[i].set(m), filled, metrics)

        return lax.fori_loop(0, n, body, (state, empty))

    return run


def gather(arrays: Batch, indices: Any) -> Batch:
    """The rows `indices` of every array; for a mapping of sources, each source's own rows."""
    if isinstance(indices, Mapping):
        return {name: gather(arrays[name], rows) for name, rows in indices.items()}
    return jax.tree.map(lambda a: a[indices], arrays)
