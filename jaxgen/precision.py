"""What is computed in half precision, and what never is.

Networks may compute in bfloat16 while they train, `with networks_in(jnp.bfloat16): ...`. Coordinates, log-determinants,
last layers, losses, parameters and whatever optimizers keep are at least float32, and so are masked networks, whose inverse
finds coordinates by the same sums.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn


def wide(x: jax.Array) -> jnp.dtype:
    """The dtype that coordinates, log-determinants and last layers are computed in: x's, at least float32."""
    return jnp.promote_types(jnp.result_type(x), jnp.float32)


def at_least_float32(x: jax.Array) -> jax.Array:
    """Coordinates and log-determinants lose too much in half precision, whatever the networks compute in."""
    return jnp.asarray(x, float32_or_wider(x))


@contextlib.contextmanager
def networks_in(dtype: Any) -> Iterator[None]:
    """While this lasts, the layers of Flax modules that leave their `dtype` open (None) compute in this one.

    Their parameters keep their own dtype and are cast where they are used; what a module gives to its caller outside
    is float32 again. It acts on what is traced within, so a gradient belongs inside as a whole. None changes nothing.
    """

    def intercept(call, args, kwargs, context):
        module = context.module
        if getattr(module, "dtype", dtype) is None:
            # the copy that Flax has bound to this call's variables
            object.__setattr__(module, "dtype", dtype)
        result = call(*args, **kwargs)
        return result if module.scope is None or module.path else jax.tree.map(_widened, result)

    with nn.intercept_methods(intercept) if dtype is not None else contextlib.nullcontext():
        yield


def _widened(x: Any) -> Any:
    return at_least_float32(x) if jnp.issubdtype(jnp.result_type(x), jnp.floating) else x
