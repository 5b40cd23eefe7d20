"""Depth without memory: a loop of invertible maps whose backward pass rebuilds its inputs from its output.

Source of the idea: Gomez et al. 2017, "The reversible residual network" (arXiv:1707.04585).
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

Where y is known it is given as `y`, and the function is differentiated at once.
"""


def _floating(tree: Any) -> Any:
    """The tree with None for what has no gradient: permutations and other integers."""
    return jax.tree.map(lambda a: a if jnp.issubdtype(a.dtype, jnp.floating) else None, tree)


def _fill(floating: Any, tree: Any) -> Any:
    """The tree with its floating leaves replaced."""
    return jax.tree.map(lambda f, a: a if f is None else f, floating, tree, is_leaf=lambda leaf: leaf is None)


def _add(a: Any, b: Any) -> Any:
    return jax.tree.map(jnp.add, a, b)


def reversing_scan(
    maps: Sequence[tuple[Map, Map]], variables: Any, x: Array, context: Array | None, times: int, reverse: bool = False
) -> ValueAndLogDet:
    """Applies the maps in order, `times` times; what its gradient needs to remember does not grow with `times`.

    The backward pass walks from map to map: the inverse gives the input x from the output y, then the map is
    differentiated at x. The network of a coupling sees the same numbers both times, and XLA evaluates it once; a walk
    in longer strides would evaluate it twice.

    Gradients reach x, the context and every floating variable; they are those of the stored loop, but for what
    round-off the inverses bring. Forward mode differentiates the loop.

    Args:
        maps: each with its inverse.
        variables: a tree whose leaves have a first axis of `times`.
        x: [B, *event], at least float32.
        context: handed to every map.
        reverse: the last variables come first.

    Returns:
        The last output, and the sum of all log-determinants [B].
    """

    def loop(variables, x, context):
        def body(carry, variables):
            x, log_det = carry
            for there, _ in maps:
                x, change = there(variables, x, context)
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
            given = (variables, context)
            bar = jax.tree.map(jnp.zeros_like, _floating(variables)), context_bar
            for there, back in reversed(maps):
                x, _ = back(variables, y, context)

                def local(floating, x, there=there, y=y):
                    variables, context = _fill(floating, given)
                    return there(variables, x, context, y=y)

                change, y_bar = jax.vjp(local, _floating(given), x)[1]((y_bar, log_det_bar))
                bar, y = _add(bar, change), x
            variables_bar, context_bar = bar
            return (y, y_bar, context_bar), variables_bar

        # sums over all repetitions, in full precision
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
    """Whether what `function(keys)` puts out depends on its keys (a tree of random keys); traces it, runs nothing."""
    seen = []

    @jax.custom_batching.custom_vmap
    def look(output):
        return output

    @look.def_vmap
    def _(size, varies, output):
        seen.append(True)
        return output, varies[0]

    # vmap over keys tells apart the values that vary with them from those that do not
    several = jax.tree.map(lambda key: jnp.stack([key, key]), keys)
    jax.eval_shape(jax.vmap(lambda keys: look(function(keys))), several)
    return bool(seen)


def reconstruction_error(
    bijector: Bijector, variables: Mapping[str, Any], x: Array, context: Array | None = None
) -> Array:
    """The largest |x - inverse(forward(x))| of all coordinates, a scalar in the units of x.

    What rebuilding inputs loses to round-off; NaN or infinite where it fails. It costs two passes: a few rows will do.
    Nothing is differentiated through it.
    """
    variables, x, context = lax.stop_gradient((variables, at_least_float32(x), context))
    z = bijector.apply(variables, x, context, method="forward")
    return jnp.abs(x - bijector.apply(variables, z, context, method="inverse")).max()
