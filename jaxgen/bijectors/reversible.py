"""Depth without memory: a loop of invertible maps whose backward pass rebuilds its inputs from its output.

Source: Gomez et al. 2017, "The reversible residual network" (arXiv:1707.04585).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxgen.autodiff import linear_call
from jaxgen.bijectors.bijector import Array, Bijector, ValueAndLogDet, zero_log_det
from jaxgen.precision import at_least_float32
from jaxgen.sharding import vary_like

Map = Callable[..., ValueAndLogDet]
"""A pure function `(variables, x, context) -> (y, log_det)`; y has the shape and dtype of x.

In the backward pass it gets the known y as keyword `y`.
"""


def _floating(tree: Any) -> Any:
    """The tree with None in place of integer leaves, which have no gradient."""
    return jax.tree.map(lambda a: a if jnp.issubdtype(a.dtype, jnp.floating) else None, tree)


def _fill(floating: Any, tree: Any) -> Any:
    """The tree with its floating leaves replaced by those of `floating`."""
    return jax.tree.map(lambda f, a: a if f is None else f, floating, tree, is_leaf=lambda leaf: leaf is None)


def _add(a: Any, b: Any) -> Any:
    return jax.tree.map(jnp.add, a, b)


def reversing_scan(
    maps: Sequence[tuple[Map, Map]], variables: Any, x: Array, context: Array | None, times: int, reverse: bool = False
) -> ValueAndLogDet:
    """Applies the maps in order, `times` times; the memory of its gradient does not grow with `times`.

    The backward pass goes from map to map: the inverse computes the input x from the output y, then the map is
    differentiated at x. A coupling's network gets equal inputs both times, and XLA evaluates it once; with several maps
    at a time it would run twice.

    Gradients with respect to x, the context and all floating variables equal those of the stored loop up to the
    round-off of the inverses. Forward mode differentiates the loop.

    Args:
        maps: pairs of a map and its inverse.
        variables: a tree whose leaves have a first axis of `times`.
        x: [B, *event], at least float32.
        context: an argument of every map.
        reverse: the last variables come first.

    Returns:
        The last output, and the sum of all log-determinants [B].
    """

    def loop(variables, x, context):
        def body(carry, variables):
            x, log_det = carry
            for apply, _ in maps:
                x, change = apply(variables, x, context)
                log_det += change
            return (x, log_det), None

        return lax.scan(body, vary_like((x, zero_log_det(x)), variables, context), variables, times, reverse)[0]

    def tangent(residuals, changes):
        *primals, _ = residuals
        return jax.jvp(lambda floating: loop(*_fill(floating, primals)), (_floating(primals),), (changes,))[1]

    def cotangent(residuals, cotangents):
        variables, _, context, y = residuals
        y_bar, log_det_bar = cotangents

        def body(carry, variables):
            y, y_bar, context_bar = carry
            inputs = (variables, context)
            bar = jax.tree.map(jnp.zeros_like, _floating(variables)), context_bar
            for apply, invert in reversed(maps):
                x, _ = invert(variables, y, context)

                def local(floating, x, apply=apply, y=y):
                    variables, context = _fill(floating, inputs)
                    return apply(variables, x, context, y=y)

                change, y_bar = jax.vjp(local, _floating(inputs), x)[1]((y_bar, log_det_bar))
                bar, y = _add(bar, change), x
            variables_bar, context_bar = bar
            return (y, y_bar, context_bar), variables_bar

        # a sum over all repetitions, at least float32
        context_bar = jax.tree.map(lambda a: jnp.zeros_like(at_least_float32(a)), _floating(context))
        (_, x_bar, context_bar), variables_bar = lax.scan(
            body, (y, y_bar, context_bar), variables, times, not reverse
        )
        return [variables_bar, x_bar, jax.tree.map(lambda bar, a: bar.astype(a.dtype), context_bar, _floating(context))]

    run = jax.custom_jvp(loop)

    @run.defjvp
    def run_jvp(primals, tangents):
        y, log_det = run(*primals)
        changes = jax.tree.map(lambda a, da: da if jnp.issubdtype(a.dtype, jnp.floating) else None, primals, tangents)
        return (y, log_det), linear_call(tangent, cotangent, [*primals, y], list(changes), (y, log_det))

    return run(variables, x, context)


def depends_on_keys(function: Callable[[Any], Any], keys: Any) -> bool:
    """Whether the output of `function(keys)` depends on its keys (a tree of random keys), found by tracing."""
    seen = []

    @jax.custom_batching.custom_vmap
    def look(output):
        return output

    @look.def_vmap
    def _(size, varies, output):
        seen.append(True)
        return output, varies[0]

    # vmap over keys distinguishes the values that vary with them from those that do not
    several = jax.tree.map(lambda key: jnp.stack([key, key]), keys)
    jax.eval_shape(jax.vmap(lambda keys: look(function(keys))), several)
    return bool(seen)


def reconstruction_error(
    bijector: Bijector, variables: Mapping[str, Any], x: Array, context: Array | None = None
) -> Array:
    """`max |x - inverse(forward(x))|` over all coordinates, a scalar in the units of x.

    The round-off error of rebuilt inputs; NaN or infinite where rebuilding fails. It costs two passes of x [B, *event],
    for which a few examples suffice. Gradients are stopped.
    """
    variables, x, context = lax.stop_gradient((variables, at_least_float32(x), context))
    z = bijector.apply(variables, x, context, method="forward")
    return jnp.abs(x - bijector.apply(variables, z, context, method="inverse")).max()
