"""Mixed precision.

Networks may compute in bfloat16 in training, `with networks_in(jnp.bfloat16): ...`. Coordinates, log-determinants, last
layers, losses, parameters and optimizer states are at least float32, and so are masked networks, whose inverse repeats
the sums of the forward pass.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn


def float32_or_wider(x: jax.Array) -> jnp.dtype:
    """The dtype of coordinates, log-determinants and last layers: that of x, at least float32."""
    return jnp.promote_types(jnp.result_type(x), jnp.float32)


def at_least_float32(x: jax.Array) -> jax.Array:
    """x in `float32_or_wider`."""
    return jnp.asarray(x, float32_or_wider(x))


@contextlib.contextmanager
def networks_in(dtype: Any) -> Iterator[None]:
    """A context in which layers of Flax modules with `dtype=None` compute in `dtype`; None has no effect.

    Parameters keep their dtype and are cast where used; outputs of top-level calls are float32. It applies while
    tracing, so trace a whole gradient inside.
    """

    def intercept(call, args, kwargs, context):
        module = context.module
        if getattr(module, "dtype", dtype) is None:
            # Flax's copy, bound to the variables of this call
            object.__setattr__(module, "dtype", dtype)
        result = call(*args, **kwargs)
        return result if module.scope is None or module.path else jax.tree.map(_widened, result)

    with nn.intercept_methods(intercept) if dtype is not None else contextlib.nullcontext():
        yield


def _widened(x: Any) -> Any:
    return at_least_float32(x) if jnp.issubdtype(jnp.result_type(x), jnp.floating) else x
