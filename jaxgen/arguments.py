"""Checks and conversions of arguments: arrays of the documented shapes, or an error that names the argument.

Shapes that broadcast must be refused, since their mean is a plausible number: scores [B, 1] minus [B] are B^2
differences.
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
"""Flax's errors for a network that is called with other shapes than it was initialised with."""


def as_arrays(*shapes: str, **given: Any) -> tuple[Array, ...]:
    """Values as floating arrays; integers and booleans are converted, floating types are kept.

    `kl, target = as_arrays("B L", "B", kl=kl, target=target)`. Axes of one name have one length; `...` stands for any
    axes, the same in all values, `*` for any axes. A single shape applies to all values.

    Raises:
        ValueError: another shape, or no element.
        TypeError: not real numbers.
    """
    found = {name: _floats(name, value) for name, value in given.items()}
    _require(shapes * len(found) if len(shapes) == 1 else shapes, found)
    return tuple(found.values())


def as_integers(shape: str, axes: dict[str, int] | None = None, **given: Any) -> Array:
    """One value as an array of integers of the given shape (`as_arrays`), with the given lengths of named axes.

    Raises:
        ValueError, TypeError: as `as_arrays`; numbers that are not integers.
    """
    ((name, value),) = given.items()
    value = _array(name, value)
    if not jnp.issubdtype(value.dtype, jnp.integer):
        raise TypeError(f"`{name}` must be integers, got {value.dtype}")
    _require((shape,), {name: value}, axes)
    return jnp.asarray(value)


def check_shapes(*shapes: str, **given: Any) -> None:
    """The checks of `as_arrays` without a conversion.

    Raises:
        ValueError, TypeError: as `as_arrays`.
    """
    _require(shapes, {name: _real(name, value) for name, value in given.items()})


def check_length(least: int, **given: Any) -> None:
    """Raises ValueError unless the first axis of each array is at least `least` long."""
    for name, value in given.items():
        if len(value) < least:
            raise ValueError(f"`{name}` must have at least {least} examples, got {len(value)}")


def check_values(valid: Callable[[np.ndarray], np.ndarray], needed: str, **given: Array) -> None:
    """Raises ValueError unless `valid` is true for all values of each array; traced arrays are not checked.

    The check runs on the host: inside of compiled code JAX would trace it even for concrete arrays.
    """
    for name, value in given.items():
        if _is_concrete(value) and not valid(np.asarray(value)).all():
            raise ValueError(f"`{name}` must be {needed}")


def check_finite(**given: Array) -> None:
    """Raises ValueError for NaN and infinite values (`check_values`)."""
    check_values(np.isfinite, "finite, got NaN or infinite values", **given)


def check_number(name: str, value: Any, least: float = -math.inf, most: float = math.inf, above: bool = False) -> None:
    """Raises ValueError unless a number is in [least, most], or with `above` in (least, most]. Ignores arrays."""
    if isinstance(value, (bool, int, float)) and not (least <= value <= most and (value > least or not above)):
        bounds = f"{'above' if above else 'at least'} {least:g}" + (
            "" if most == math.inf else f" and at most {most:g}"
        )
        raise ValueError(f"`{name}` must be {bounds}, got {value}")


def check_counts(least: int = 1, **given: Any) -> None:
    """Raises ValueError unless each value is an integer >= `least`, or a sequence of such."""
    for name, value in given.items():
        for part in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(part, bool) or not isinstance(part, (int, np.integer)) or part < least:
                raise ValueError(f"`{name}` must be integers of at least {least}, got {value!r:.80}")


def check_shape(event_shape: Any) -> None:
    """Raises ValueError unless the value is a tuple of positive integers."""
    if not isinstance(event_shape, (tuple, list)):
        raise ValueError(f"`event_shape` must be a tuple of integers, got {event_shape!r:.80}")
    check_counts(event_shape=event_shape)


def as_real(name: str, value: Any) -> Array:
    """An array of real numbers (floats, integers or booleans) of its own type.

    Raises:
        ValueError: ragged.
        TypeError: not real numbers.
    """
    return jnp.asarray(_real(name, value))


def _real(name: str, value: Any) -> Any:
    value = _array(name, value)
    number = (
        jnp.issubdtype(value.dtype, jnp.floating) or jnp.issubdtype(value.dtype, jnp.integer) or value.dtype == bool
    )
    if not number:
        raise TypeError(f"`{name}` must be real numbers, got {value.dtype}")
    return value


def as_batch(name: str, value: Any) -> Array:
    """`as_real`, [B, ...] with at least one example and one more axis.

    Raises:
        ValueError, TypeError: as `as_real`; another shape.
    """
    value = as_real(name, value)
    if value.ndim < 2 or 0 in value.shape:
        hint = f"; for a single example pass {name}[None]" if value.ndim == 1 else ""
        raise ValueError(f"`{name}` must be [B, ...] with at least one example, got shape {value.shape}{hint}")
    return value


def as_events(name: str, value: Any, event_shape: tuple[int, ...]) -> Array:
    """`as_real`, [B, *event_shape].

    Raises:
        ValueError, TypeError: as `as_real`; another event shape, or a single event without a batch axis.
    """
    value = as_real(name, value)
    event_shape = tuple(event_shape)
    if not value.ndim or value.shape[1:] != event_shape:
        hint = f"; for a single example pass {name}[None]" if value.shape == event_shape else ""
        raise ValueError(f"`{name}` must be a batch of events of shape {event_shape}, got shape {value.shape}{hint}")
    return value


def broadcast_context(context: Any, x: Array) -> Array | None:
    """A context [B, ...] for x [B, ...], from [B, ...] or [1, ...], sharded as x if it is broadcast; None stays None.

    Raises:
        ValueError, TypeError: as `as_real`; neither one row nor B; integer labels instead of one-hot ones.
    """
    if context is None:
        return None
    context = as_real("context", context)
    if context.ndim < 2:
        raise ValueError(
            f"`context` must be [{x.shape[0]}, features] or [1, features], got shape {context.shape}; "
            "encode labels with jax.nn.one_hot(labels, num_classes)"
        )
    if 0 in context.shape or (context.shape[0] != x.shape[0] and context.shape[0] != 1):
        raise ValueError(f"`context` must have one row or {x.shape[0]}, got shape {context.shape}")
    if context.shape[0] == x.shape[0]:
        return context
    return context + full_batch(x, 0, (1,) * (context.ndim - 1), context.dtype)


def freeze_fields(instance: Any) -> None:
    """Replaces arrays and lists in the fields of a frozen dataclass by tuples, so that it hashes and compares.

    Raises:
        TypeError: a traced array.
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
    """Raises ValueError unless all elements are in [least, most], and integers if `whole`.

    Other numbers may exceed the range by rounding. Traced arrays and arrays of other processes are not checked.
    """
    if not _is_concrete(value):
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


def _is_concrete(value: Any) -> bool:
    """Whether the values of an array are known to this process: not traced, nor on devices of others."""
    return not isinstance(value, jax.core.Tracer) and getattr(value, "is_fully_addressable", True)


def _array(name: str, value: Any) -> Any:
    if isinstance(value, jax.Array):
        return value
    try:
        return np.asarray(value)
    except ValueError:
        raise ValueError(f"`{name}` must not be ragged: rows of one shape") from None


def _floats(name: str, value: Any) -> Array:
    value = as_real(name, value)
    return value if jnp.issubdtype(value.dtype, jnp.floating) else value.astype(jnp.float32)


def _require(shapes: tuple[str, ...], found: dict[str, Any], axes: dict[str, int] | None = None) -> None:
    lengths: dict[str, Any] = dict(axes or {})
    for (name, value), shape in zip(found.items(), shapes, strict=True):
        if 0 in value.shape:
            raise ValueError(f"`{name}` must have at least one row and no axis of length zero, got shape {value.shape}")
        *named, last = shape.split() or [""]
        named = [axis for axis in (*named, last) if axis not in ("", "...", "*")]
        rest, open_end = value.shape[len(named) :], last in ("...", "*")
        fits = len(value.shape) >= len(named) and (open_end or not rest)
        fits = fits and all(lengths.setdefault(a, n) == n for a, n in zip(named, value.shape, strict=False))
        if not fits or (last == "..." and lengths.setdefault("...", rest) != rest):
            known = ", ".join(f"{axis}={lengths[axis]}" for axis in shape.split() if axis in lengths)
            with_lengths = f" with {known}" if known else ""
            wanted = f"[{', '.join(shape.split())}]{with_lengths}"
            raise ValueError(f"`{name}` must have shape {wanted}, got shape {value.shape}")
