"""A model as JSON, and back without running foreign code.

A description names classes and functions of this package (and layers and activations of Flax and JAX) and the values
of their fields. Reading looks names up in an allowlist of modules, so that a description can only build models.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.data.errors import one_line

_ROOMS = ("bijectors", "convolution", "nets", "distributions", "losses", "metrics", "models")
_PUBLIC = {"flax.linen": nn, "flax.linen.initializers": nn.initializers, "jax.nn": jax.nn, "jax.numpy": jnp}
_ELEMENTWISE = ("abs", "cos", "exp", "expm1", "sin", "sinh", "sqrt", "square", "tanh")  # of jax.numpy, which has `load`


def _ours(module: str) -> bool:
    return any(module == f"jaxgen.{room}" or module.startswith(f"jaxgen.{room}.") for room in _ROOMS)


def _name_of(thing: Any) -> str | None:
    """The public dotted name of a class or function, None where it is not of the allowlist."""
    module, name = getattr(thing, "__module__", None) or "", getattr(thing, "__qualname__", "")
    if _ours(module) and "<" not in name:
        return f"{module}.{name}"
    for prefix, place in _PUBLIC.items():
        if getattr(place, name, None) is thing and (place is not jnp or name in _ELEMENTWISE):
            return f"{prefix}.{name}"
    return None


def describe(thing: Any) -> Any:
    """A JSON value for a model, module, function or plain value.

    Raises:
        TypeError: a class or function that is not this package's, Flax's or JAX's.
    """
    if thing is None or isinstance(thing, (bool, int, float, str)):
        return thing
    if isinstance(thing, (tuple, list)) and not hasattr(thing, "_fields"):
        return [describe(item) for item in thing]
    if isinstance(thing, dict):
        return {"dict": [[describe(k), describe(v)] for k, v in thing.items()]}
    if isinstance(thing, functools.partial):
        keywords = {k: describe(v) for k, v in thing.keywords.items()}
        return {"partial": describe(thing.func), "args": [describe(a) for a in thing.args], "keywords": keywords}
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type) and (name := _name_of(type(thing))):
        fields = [f.name for f in dataclasses.fields(thing) if f.init]
        if isinstance(thing, nn.Module):
            fields = [f for f in fields if f != "parent" and not (f == "name" and thing.name is None)]
        return {"class": name, "fields": {f: describe(getattr(thing, f)) for f in fields}}
    if callable(thing) and (name := _name_of(thing)):
        return {"function": name}
    raise TypeError(
        f"{thing!r} cannot be written down: descriptions hold classes and functions of jaxgen, flax.linen and jax.nn; "
        "a model with parts of your own is passed to `jaxgen.load(folder, model=...)`"
    )


def build(description: Any) -> Any:
    """The thing that `describe` described.

    Raises:
        ValueError: a name outside the allowlist, fields that its class does not have, or an entry that `describe` does
            not write.
    """
    if isinstance(description, list):
        return tuple(build(item) for item in description)
    if not isinstance(description, dict):
        return description
    match description:
        case {"dict": list(pairs)} if all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
            return _made("a dict", lambda: {build(k): build(v) for k, v in pairs})
        case {"partial": dict(function), "args": list(args), "keywords": dict(keywords)}:
            keywords = {k: build(v) for k, v in keywords.items()}
            return _made("a partial", lambda: functools.partial(build(function), *build(args), **keywords))
        case {"function": name}:
            return _look_up(name)
        case {"class": name, "fields": dict(fields)} if len(description) == 2:
            return _instance(name, fields)
    raise ValueError(f"a description has no entry {f'of keys {sorted(description)}':.200} with these values")


def _instance(name: Any, fields: dict[str, Any]) -> Any:
    cls = _look_up(name)
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        raise ValueError(f"{name!r} is not a class that a model is made of")
    if unknown := set(fields) - {f.name for f in dataclasses.fields(cls)}:
        raise ValueError(f"{name} has no field {f'{sorted(unknown)}':.200}")
    values = {field: build(value) for field, value in fields.items()}
    return _made(name, lambda: cls(**values))


def _made(what: str, make: Callable[[], Any]) -> Any:
    """What `make` makes of values of a file, which may be of any type."""
    try:
        return make()
    except (AttributeError, TypeError) as error:
        raise ValueError(f"{what} cannot be made of its values: {one_line(error)}") from error


def _look_up(name: Any) -> Any:
    """A class or function by its dotted name, from the allowlist alone."""
    refusal = ValueError(f"{name!r:.200} is not a class or function that a description may name")
    if not isinstance(name, str) or "__" in name:
        raise refusal
    module, _, leaf = name.rpartition(".")
    if module in _PUBLIC:
        found = getattr(_PUBLIC[module], leaf, None)
        if module == "jax.numpy" and leaf not in _ELEMENTWISE:
            raise refusal
    elif _ours(module):
        try:
            found = getattr(importlib.import_module(module), leaf, None)
        except ImportError:
            raise refusal from None
        # what the module imported is not what it defines
        found = found if _name_of(found) == name else None
    else:
        raise refusal
    if not (inspect.isclass(found) or callable(found)):
        raise refusal
    return found
