"""Arguments as arrays of the shapes that docstrings have, or a sentence that says which one is not.

A mean over shapes that broadcast would be a number like any other: scores [B, 1] against [B] are B^2 differences.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import errors

from jaxgen.sharding import full_batch

Array = jax.Array

OTHER_VARIABLES = (
    errors.ScopeParamShapeError, errors.ScopeParamNotFoundError, errors.ScopeVariableNotFoundError,
    errors.ScopeCollectionNotFound,
)  # fmt: skip
"""What Flax says where a network is given other shapes than it was initialised with."""


def arrays(*shapes: str, **given: Any) -> tuple[Array, ...]:
    """The given values as arrays of floats, integers and booleans among them; those of floats keep their type.

    `kl, target = arrays("B L", "B", kl=kl, target=target)`. Axes of one name are equally long; `...` are any axes, the
    same in all, and `*` any axes; one shape serves all values.

    Raises:
        ValueError: naming the argument: another shape, or no element.
        TypeError: naming the argument: no real numbers.
    """
    found = {name: _floats(name, value) for name, value in given.items()}
    _require(shapes * len(found) if len(shapes) == 1 else shapes, found)
    return tuple(found.values())


def integers(shape: str, axes: dict[str, int] | None = None, **given: Any) -> Array:
    """One value as an array of integers, of a shape as `arrays` has it, its named axes of these lengths.

    Raises:
        ValueError, TypeError: as `arrays`; numbers that are no integers.
    """
    ((name, value),) = given.items()
    value = _array(name, value)
    if not jnp.issubdtype(value.dtype, jnp.integer):
        raise TypeError(f"{name} has dtype {value.dtype}: integers are needed")
    _require((shape,), {name: value}, axes)
    return jnp.asarray(value)


def check_shapes(*shapes: str, **given: Any) -> None:
    """Checks arrays as `arrays` does, without a conversion.

    Raises:
        ValueError, TypeError: as `arrays`.
    """
    _require(shapes, {name: _real(name, value) for name, value in given.items()})


def check_rows(least: int, **given: Any) -> None:
    """Raises unless each array has at least `least` rows.

    Raises:
        ValueError: naming the argument.
    """
    for name, value in given.items():
        if len(value) < least:
            raise ValueError(f"{name} must have at least {least} rows, got {len(value)}")


def check_values(valid: Callable[[np.ndarray], np.ndarray], needed: str, **given: Array) -> None:
    """Raises unless `valid` is true for all values of each array; traced arrays have no values to check.

    On the host: inside of compiled code JAX would trace what it does with an array, even with a concrete one.

    Raises:
        ValueError: naming the argument.
    """
    for name, value in given.items():
        known = not isinstance(value, jax.core.Tracer) and value.is_fully_addressable
        if known and not valid(np.asarray(value)).all():
            raise ValueError(f"{name} must be {needed}")


def check_finite(**given: Array) -> None:
    """Raises for NaN and infinite values, as `check_values` does."""
    check_values(np.isfinite, "finite, got NaN or infinite values", **given)


def number(name: str, value: Any, least: float = -math.inf, most: float = math.inf, above: bool = False) -> None:
    """Refuses a number that is not of `least` .. `most`; with `above`, `least` itself too. Arrays are not looked into.

    Raises:
        ValueError: naming the argument.
    """
    if isinstance(value, (bool, int, float)) and not (least <= value <= most and (value > least or not above)):
        bounds = f"{'above' if above else 'at least'} {least:g}" + (
            "" if most == math.inf else f" and at most {most:g}"
        )
        raise ValueError(f"{name}={value} was given; it has to be {bounds}")


def counts(least: int = 1, **given: Any) -> None:
    """Refuses what is no whole number of at least `least`, or no sequence of such.

    Raises:
        ValueError: naming the argument.
    """
    for name, value in given.items():
        for part in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(part, bool) or not isinstance(part, (int, np.integer)) or part < least:
                raise ValueError(f"{name}={value!r:.80} was given; whole numbers of at least {least} are needed")


def shape(event_shape: Any) -> None:
    """Refuses what is no shape of an event.

    Raises:
        ValueError: naming `event_shape`.
    """
    if not isinstance(event_shape, (tuple, list)):
        raise ValueError(f"event_shape={event_shape!r:.80} was given; a tuple of whole numbers is needed")
    counts(event_shape=event_shape)


def real(name: str, value: Any) -> Array:
    """An array of real numbers, of integers too, in the type that it has.

    Raises:
        ValueError, TypeError: naming the argument: ragged, or no real numbers.
    """
    return jnp.asarray(_real(name, value))


def _real(name: str, value: Any) -> Any:
    value = _array(name, value)
    number = (
        jnp.issubdtype(value.dtype, jnp.floating) or jnp.issubdtype(value.dtype, jnp.integer) or value.dtype == bool
    )
    if not number:
        raise TypeError(f"{name} has dtype {value.dtype}: real numbers are needed")
    return value


def rows(name: str, value: Any) -> Array:
    """`real`, [B, ...] of at least one row and one more axis.

    Raises:
        ValueError, TypeError: as `real`; naming the argument: no rows of features.
    """
    value = real(name, value)
    if value.ndim < 2 or 0 in value.shape:
        hint = f"; for a single example pass {name}[None]" if value.ndim == 1 else ""
        raise ValueError(f"{name} must be [B, ...] with at least one row of features, got shape {value.shape}{hint}")
    return value


def events(name: str, value: Any, event_shape: tuple[int, ...]) -> Array:
    """`real`, [B, *event_shape].

    Raises:
        ValueError, TypeError: as `real`; naming the argument: another event shape, or a single event without a batch.
    """
    value = real(name, value)
    event_shape = tuple(event_shape)
    if not value.ndim or value.shape[1:] != event_shape:
        hint = f"; for a single example pass {name}[None]" if value.shape == event_shape else ""
        raise ValueError(f"{name} must be a batch of events of shape {event_shape}, got shape {value.shape}{hint}")
    return value


def context_rows(context: Any, x: Array) -> Array | None:
    """A context with one row for each of x [B, ...], sharded as x where it had a single row; None stays None.

    Raises:
        ValueError, TypeError: as `real`; neither one row nor B, or without features: labels that are not one-hot.
    """
    if context is None:
        return None
    context = real("context", context)
    if context.ndim < 2:
        raise ValueError(
            f"context must be [{x.shape[0]}, features] or [1, features], got shape {context.shape}; "
            "encode labels with jax.nn.one_hot(labels, num_classes)"
        )
    if 0 in context.shape or (context.shape[0] != x.shape[0] and context.shape[0] != 1):
        raise ValueError(f"context must have one row or {x.shape[0]}, got shape {context.shape}")
    if context.shape[0] == x.shape[0]:
        return context
    return context + full_batch(x, 0, (1,) * (context.ndim - 1), context.dtype)


def freeze_fields(instance: Any) -> None:
    """Replaces arrays and lists in the fields of a frozen dataclass by tuples, with which it hashes and compares.

    Raises:
        TypeError: naming the field: an array that is traced, whose numbers are not known.
    """
    for field in dataclasses.fields(instance):
        value = getattr(instance, field.name, None)
        if isinstance(value, jax.core.Tracer):
            raise TypeError(f"`{field.name}` of {type(instance).__name__} must be concrete numbers, got a traced array")
        if isinstance(value, (list, tuple, np.ndarray, np.generic, jax.Array)):
            object.__setattr__(instance, field.name, _frozen(value))


def _frozen(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic, jax.Array)):
        value = np.asarray(value).tolist()
    if isinstance(value, list) or type(value) is tuple:
        return tuple(map(_frozen, value))
    return value


def check_range(name: str, value: Any, least: float, most: float, whole: bool = False) -> None:
    """Raises unless all elements are in [least, most], and integers if `whole`; reals may exceed it by rounding.

    Only concrete values are looked into: not those of a trace (`jit`, `grad`), nor arrays of other processes.

    Raises:
        ValueError: naming the argument and the first such element.
    """
    if isinstance(value, jax.core.Tracer) or not getattr(value, "is_fully_addressable", True):
        return
    if jnp.issubdtype(value.dtype, jnp.integer):
        limits = jnp.iinfo(value.dtype)
        if least <= limits.min and limits.max <= most:
            return
    value, margin = np.asarray(value), 0.0 if whole else 1e-6 * (most - least)
    fits = (value >= least - margin) & (value <= most + margin)
    if whole:
        fits = fits & (value == np.floor(value))
    if not fits.all():
        wanted = f"integers from {least} to {most}" if whole else f"in [{least:g}, {most:g}]"
        raise ValueError(f"`{name}` must be {wanted}, got {value[~fits][0]}")


def _array(name: str, value: Any) -> Any:
    if isinstance(value, jax.Array):
        return value
    try:
        return np.asarray(value)
    except ValueError:
        raise ValueError(f"{name} is ragged: rows of one shape are needed") from None


def _floats(name: str, value: Any) -> Array:
    value = real(name, value)
    return value if jnp.issubdtype(value.dtype, jnp.floating) else value.astype(jnp.float32)


def _require(shapes: tuple[str, ...], found: dict[str, Any], axes: dict[str, int] | None = None) -> None:
    lengths: dict[str, Any] = dict(axes or {})
    for (name, value), shape in zip(found.items(), shapes, strict=True):
        if 0 in value.shape:
            raise ValueError(f"{name} has shape {value.shape}: at least one row, and no axis of length zero, is needed")
        *named, last = shape.split() or [""]
        named = [axis for axis in (*named, last) if axis not in ("", "...", "*")]
        rest, open_end = value.shape[len(named) :], last in ("...", "*")
        fits = len(value.shape) >= len(named) and (open_end or not rest)
        fits = fits and all(lengths.setdefault(a, n) == n for a, n in zip(named, value.shape, strict=False))
        if not fits or (last == "..." and lengths.setdefault("...", rest) != rest):
            known = ", ".join(f"{axis}={lengths[axis]}" for axis in shape.split() if axis in lengths)
            raise ValueError(f"{name} has shape {value.shape}: [{', '.join(shape.split())}]{_here(known)} is needed")


def _here(known: str) -> str:
    return f" with {known}" if known else ""
