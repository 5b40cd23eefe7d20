"""Linear maps with custom transposes, differentiable to any order in forward and reverse mode."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

Flat = Callable[..., Sequence[jax.Array]]
"""A function of the leaves of the residuals, then of the linear argument; it returns a list of arrays."""


def linear_call(
    function: Callable[[Any, Any], Any], transpose: Callable[[Any, Any], Any], residuals: Any, x: Any, like: Any
) -> Any:
    """`function(residuals, x)`, linear in x, with the transpose `transpose(residuals, cotangent)` in reverse mode.

    Like `jax.custom_derivatives.linear_call`, with the missing rules for `vmap` and for derivatives with respect to the
    residuals, which are those of the function. As the tangent of a `jax.custom_jvp` function it provides a custom
    backward pass, like `jax.custom_vjp`, and keeps forward mode. The function is traced only where it is evaluated, not
    in reverse mode.

    Args:
        function: a pure function that closes over no traced arrays.
        transpose: the transpose of `function(residuals, .)`, from cotangents like the function's result to a tree like
            x.
        residuals: a tree of arrays.
        x: a tree of floating arrays.
        like: a tree of arrays with the shapes and dtypes of the function's result.
    """

    def flat(function, *arguments):
        tree = jax.tree.structure(arguments)
        return lambda *leaves: jax.tree.leaves(function(*jax.tree.unflatten(tree, leaves)))

    outputs, output_tree = jax.tree.flatten(like)
    return jax.tree.unflatten(output_tree, _bind(
        jax.tree.leaves((residuals, x)), flat(function, residuals, x), flat(transpose, residuals, like),
        tuple(map(jax.typeof, outputs)), len(jax.tree.leaves(residuals)),
    ))


def _bind(leaves: Sequence[jax.Array], function: Flat, transpose: Flat, outputs: tuple, num_residuals: int) -> list:
    """Binds the primitive; `outputs` are the types of the results."""
    # within `jax.shard_map`, leaves and results vary over the union of the leaves' axes
    axes = functools.reduce(operator.or_, map(_varying_axes, leaves))
    leaves = [lax.pcast(leaf, tuple(axes - _varying_axes(leaf)), to="varying") for leaf in leaves]
    return _linear_call.bind(
        *leaves, function=function, transpose=transpose, outputs=outputs, num_residuals=num_residuals
    )


def _varying_axes(x: jax.Array) -> frozenset[str]:
    return jax.typeof(x).manual_axis_type.varying


def _evaluate(*leaves, function, **_):
    return function(*leaves)


def _jvp(primals, tangents, *, function, num_residuals, **others):
    out = _linear_call.bind(*primals, function=function, num_residuals=num_residuals, **others)
    terms = []
    if any(type(tangent) is not ad.Zero for tangent in tangents[num_residuals:]):
        linear = map(ad.instantiate_zeros, tangents[num_residuals:])
        leaves = [*primals[:num_residuals], *linear]
        terms.append(_bind(leaves, function, num_residuals=num_residuals, **others))
    varying = [i for i in range(num_residuals) if type(tangents[i]) is not ad.Zero]
    if varying:

        def partial(*values):
            leaves = list(primals)
            for i, value in zip(varying, values, strict=True):
                leaves[i] = value
            return function(*leaves)

        terms.append(jax.jvp(partial, [primals[i] for i in varying], [tangents[i] for i in varying])[1])
    return out, [sum(changes[1:], changes[0]) for changes in zip(*terms, strict=True)]


def _transpose(cotangents, *leaves, function, transpose, outputs, num_residuals):
    residuals, x = leaves[:num_residuals], leaves[num_residuals:]
    unknown = [ad.is_undefined_primal(leaf) for leaf in x]
    types = tuple(leaf.aval if u else jax.typeof(leaf) for u, leaf in zip(unknown, x, strict=True))
    cotangents = map(ad.instantiate_zeros, cotangents)
    bars = _bind([*residuals, *cotangents], transpose, function, types, num_residuals)
    return [None] * num_residuals + [bar if u else None for u, bar in zip(unknown, bars, strict=True)]


def _batch(leaves, axes, *, function, transpose, outputs, num_residuals):
    size = next(leaf.shape[axis] for leaf, axis in zip(leaves, axes, strict=True) if axis is not None)
    leaves = [leaf if axis is None else jnp.moveaxis(leaf, axis, 0) for leaf, axis in zip(leaves, axes, strict=True)]
    residual_axes = [None if axis is None else 0 for axis in axes[:num_residuals]]
    # all leaves of x have the axis, as all results of the transpose do
    x = [
        jnp.broadcast_to(leaf, (size, *leaf.shape)) if axis is None else leaf
        for leaf, axis in zip(leaves[num_residuals:], axes[num_residuals:], strict=True)
    ]

    def mapped(function):
        def call(*leaves):
            linear_axes = [0] * (len(leaves) - num_residuals)
            return jax.vmap(function, (*residual_axes, *linear_axes), axis_size=size)(*leaves)

        return call

    leaves = [*leaves[:num_residuals], *x]
    types = tuple(jax.make_jaxpr(mapped(function))(*leaves).out_avals)
    return _bind(leaves, mapped(function), mapped(transpose), types, num_residuals), [0] * len(outputs)


_linear_call = Primitive("linear_call_with_transpose")
_linear_call.multiple_results = True
_linear_call.def_impl(_evaluate)
_linear_call.def_abstract_eval(lambda *_, outputs, **others: outputs)
ad.primitive_jvps[_linear_call] = _jvp
ad.primitive_transposes[_linear_call] = _transpose
batching.primitive_batchers[_linear_call] = _batch
mlir.register_lowering(_linear_call, mlir.lower_fun(_evaluate, multiple_results=True))
