"""One train step for every game: a pure function `(state, batch) -> (state, metrics)`."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Play
from jaxgen.precision import networks_in
from jaxgen.training.state import TrainState, join

Metrics = Mapping[str, Mapping[str, Array]]
"""By play: `loss`, `grad_norm`, the loss's own metrics, and `played`: 1 if it moved, else 0 like the others."""
TrainStep = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


class StepOptions(NamedTuple):
    """Arguments of `make_train_step` that hold for all plays."""

    ema: float
    axis_name: str | None
    accumulate: int
    skip_non_finite: bool


def _average(old: Any, new: Any, decay: Array) -> Any:
    """Exponential moving averages of floating leaves; other leaves are replaced."""

    def blend(o, n):
        return jnp.asarray(decay * o + (1 - decay) * n, n.dtype) if jnp.issubdtype(n.dtype, jnp.floating) else n

    return jax.tree.map(blend, old, new)


def _merge(variables: Mapping[str, Any], changed: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Replaces the collections in `changed`."""
    return {player: {**collections, **changed.get(player, {})} for player, collections in variables.items()}


def _gradient(state: TrainState, batch: Batch, key: Key, name: str, play: Play) -> tuple[Any, LossOutput]:
    """The gradient with respect to the play's players, and the loss's output."""

    def loss(params):
        clock = Clock(state.step, state.phase_step, state.moves[name])
        out = play.loss(join({**state.params, **params}, state.collections), batch, key, clock)
        return out.value, out

    return jax.grad(loss, has_aux=True)({player: state.params[player] for player in play.players})


def _accumulated(
    state: TrainState, batch: Batch, key: Key, name: str, play: Play, parts: int
) -> tuple[Any, LossOutput]:
    """The mean of `_gradient` over parts of the batch, one after another, each with its own noise."""
    if not play.accumulates:
        raise ValueError(
            f"`accumulate` must be 1, got {parts}: the loss of play {name!r} is not a mean over examples "
            "(`Play.accumulates`)"
        )

    def part(a: Array) -> Array:
        if a.shape[0] % parts:
            raise ValueError(f"`accumulate` must divide the batch of {a.shape[0]} examples, got {parts}")
        # every parts-th example: if the batch is split over devices, each device keeps its own
        return jnp.asarray(a).reshape(a.shape[0] // parts, parts, *a.shape[1:]).swapaxes(0, 1)

    divided, keys = jax.tree.map(part, batch), jax.random.split(key, parts)

    def gradient(i):
        grads, out = _gradient(state, jax.tree.map(lambda a: a[i], divided), keys[i], name, play)
        if jax.tree.leaves((out.statistics, out.memory)):
            raise ValueError(
                f"`accumulate` must be 1, got {parts}: play {name!r} updates collections without gradients, for "
                f"example "
                "batch statistics, which depend on the whole batch"
            )
        return grads, out

    empty = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(gradient, 0))
    total = lax.fori_loop(0, parts, lambda i, sums: jax.tree.map(jnp.add, sums, gradient(i)), empty)
    return jax.tree.map(lambda a: a / parts, total)


def _move(
    state: TrainState, batch: Batch, key: Key, name: str, play: Play, options: StepOptions
) -> tuple[TrainState, dict[str, Array]]:
    """One move of a play: gradient, optimizer, collections updated without gradients, averages."""
    before, axis_name = state, options.axis_name
    if options.accumulate == 1:
        grads, out = _gradient(state, batch, key, name, play)
    else:
        grads, out = _accumulated(state, batch, key, name, play, options.accumulate)
    metrics, statistics = {"loss": out.value, **out.metrics}, out.statistics
    if axis_name is not None:
        if jax.tree.leaves(out.memory):
            raise ValueError(
                f"`parallel` must be 'jit', got 'pmap': play {name!r} keeps memory, which would differ between devices"
            )
        grads, metrics = lax.pmean((grads, metrics), axis_name)
        statistics = jax.tree.map(
            lambda a: lax.pmean(a, axis_name) if jnp.issubdtype(a.dtype, jnp.floating) else a, statistics
        )
    params = {player: state.params[player] for player in play.players}
    updates, opt_state = play.optimizer.update(grads, state.opt_state[name], params)
    params = optax.apply_updates(params, updates)
    # early averages follow closely: the decay is that of a tenth of the moves so far, up to `ema`
    moves = state.moves[name] + 1
    decay = jnp.minimum(options.ema, moves / (moves + 9.0))
    moved = {p: {**({"params": params[p]} if p in params else {}), **statistics.get(p, {})} for p in state.params}
    old = {p: {c: state.average[p][c] for c in collections} for p, collections in moved.items()}
    state = state.replace(
        params={**state.params, **params},
        collections=_merge(_merge(state.collections, statistics), out.memory),
        average=_merge(_merge(state.average, _average(old, moved, decay)), out.memory),
        moves={**state.moves, name: moves},
        opt_state={**state.opt_state, name: opt_state},
    )
    metrics = {**metrics, "grad_norm": optax.tree.norm(grads), "played": jnp.int32(1)}
    if options.skip_non_finite:
        good = jnp.isfinite(metrics["loss"]) & jnp.isfinite(metrics["grad_norm"])
        steps = {"step": None, "phase_step": None}
        kept = jax.tree.map(lambda new, old: jnp.where(good, new, old), state.replace(**steps), before.replace(**steps))
        state = kept.replace(step=before.step, phase_step=before.phase_step)
        # a skipped move reports nothing else
        metrics = {name: jnp.where(good, value, jnp.zeros_like(value)) for name, value in metrics.items()}
        metrics["skipped"] = jnp.int32(~good)
    return state, metrics


def make_train_step(
    plays: Mapping[str, Play],
    ema: float = 0.999,
    axis_name: str | None = None,
    accumulate: int = 1,
    skip_non_finite: bool = False,
    precision: Any = None,
) -> TrainStep:
    """The train step of a game: its plays in order, each on the variables that the previous ones updated.

    Args:
        plays: by name; a model's own are `model.plays()`.
        ema: decay of the averages per move; 0: they equal the variables. Memory is not averaged.
        axis_name: for the per-device view of `jax.pmap`: gradients, metrics and floating statistics are averaged over
            it, and each device draws its own noise. None: the global view, `batch` is the whole batch.
        accumulate: parts of a batch whose gradients are computed one after another and averaged.
        skip_non_finite: a move whose loss or gradient is not finite leaves the state as it was, and counts as `skipped`
            instead of `played`.
        precision: the dtype that networks compute in, for example jnp.bfloat16 (`jaxgen.precision`); None: their own.

    Returns:
        A pure function. The key of step `i` is `fold_in(state.key, i)`, that of its play `name` is folded from that by
        a hash of the name, so that adding a play leaves the others' noise as it was. A play that does not move leaves
        its optimizer as it was and reports zeros with `played` 0.

    Raises:
        ValueError: when traced, with `accumulate`: a play's loss is not a mean over examples, a play updates
            collections without gradients, or the batch is not divisible; with `axis_name`: a play keeps memory.
    """
    options = StepOptions(ema, axis_name, accumulate, skip_non_finite)

    @networks_in(precision)
    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        step_key = jax.random.fold_in(state.key, state.step)
        if axis_name is not None:
            step_key = jax.random.fold_in(step_key, lax.axis_index(axis_name))
        metrics = {}
        for name, play in plays.items():
            key = jax.random.fold_in(step_key, zlib.crc32(name.encode()))

            def move(s, name=name, play=play, key=key):
                return _move(s, batch, key, name, play, options)

            def skip(s, move=move):
                shapes = jax.eval_shape(move, s)[1]
                return s, jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)

            if play.when is None:
                state, metrics[name] = move(state)
            else:
                on = play.when(Clock(state.step, state.phase_step, state.moves[name]))
                state, metrics[name] = lax.cond(on, move, skip, state)
        return state.replace(step=state.step + 1, phase_step=state.phase_step + 1), metrics

    return train_step


def many_steps(train_step: TrainStep, capacity: int) -> Callable:
    """Up to `capacity` steps in one call, on data that are on the device.

    Returns:
        `(state, arrays, indices, n) -> (state, metrics)`: `arrays` holds all examples, `indices` has leaves
        int32[capacity, batch], of which the first `n` are used; metrics have a leading axis of `capacity`, of which the
        first `n` entries are valid. `n` is an argument of the compiled function, so that the same code computes each
        step, however the steps of a run are cut into calls.
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
    """The examples `indices` of every array; several sources have a mapping of indices."""
    if isinstance(indices, Mapping):
        return {name: gather(arrays[name], i) for name, i in indices.items()}
    return jax.tree.map(lambda a: a[indices], arrays)
