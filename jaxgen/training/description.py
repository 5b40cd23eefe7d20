"""Models as JSON, read back without running other packages' code.

A description names classes and functions of this package (and layers and activations of Flax and JAX) and the values
of their fields. `build` looks names up in an allowlist of modules, so that a description can only build models.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.data.errors import one_line

_SUBPACKAGES = ("bijectors", "convolution", "nets", "distributions", "losses", "metrics", "models")
_PUBLIC = {"flax.linen": nn, "flax.linen.initializers": nn.initializers, "jax.nn": jax.nn, "jax.numpy": jnp}
_ELEMENTWISE = ("abs", "cos", "exp", "expm1", "sin", "sinh", "sqrt", "square", "tanh")  # jax.numpy also has `load`


class UnknownName(ValueError):
    """A class, function or field of jaxgen that this version does not have, or a required field that is missing."""


def _ours(module: str) -> bool:
    return any(module == f"jaxgen.{name}" or module.startswith(f"jaxgen.{name}.") for name in _SUBPACKAGES)


def _name_of(value: Any) -> str | None:
    """The public dotted name of a class or function; None if it is not on the allowlist."""
    module, name = getattr(value, "__module__", None) or "", getattr(value, "__qualname__", "")
    if _ours(module) and "<" not in name:
        return f"{module}.{name}"
    for prefix, public in _PUBLIC.items():
        if getattr(public, name, None) is value and (public is not jnp or name in _ELEMENTWISE):
            return f"{prefix}.{name}"
    return None


def describe(value: Any) -> Any:
    """A JSON value for a model, module, function or plain value.

    Raises:
        TypeError: a class or function of another package than jaxgen, Flax or JAX.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (tuple, list)) and not hasattr(value, "_fields"):
        return [describe(item) for item in value]
    if isinstance(value, dict):
        return {"dict": [[describe(k), describe(v)] for k, v in value.items()]}
    if isinstance(value, functools.partial):
        keywords = {k: describe(v) for k, v in value.keywords.items()}
        return {"partial": describe(value.func), "args": [describe(a) for a in value.args], "keywords": keywords}
    if dataclasses.is_dataclass(value) and not isinstance(value, type) and (name := _name_of(type(value))):
        fields = [f.name for f in dataclasses.fields(value) if f.init]
        if isinstance(value, nn.Module):
            fields = [f for f in fields if f != "parent" and not (f == "name" and value.name is None)]
        return {"class": name, "fields": {f: describe(getattr(value, f)) for f in fields}}
    if callable(value) and (name := _name_of(value)):
        return {"function": name}
    raise TypeError(
        f"a described model must consist of classes and functions of jaxgen, flax.linen and jax.nn, got {value!r}; "
        f"pass "
        "other models to `jaxgen.load(folder, model=...)`"
    )


def build(description: Any) -> Any:
    """The inverse of `describe`.

    Raises:
        UnknownName: a class, function or field of jaxgen that this version does not have.
        ValueError: a name outside the allowlist, or an entry that `describe` does not write.
    """
    if isinstance(description, list):
        return tuple(build(item) for item in description)
    if not isinstance(description, dict):
        return description
    match description:
        case {"dict": list(pairs)} if all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
            return _call("a dict", lambda: {build(k): build(v) for k, v in pairs})
        case {"partial": dict(function), "args": list(args), "keywords": dict(keywords)}:
            keywords = {k: build(v) for k, v in keywords.items()}
            return _call("a partial", lambda: functools.partial(build(function), *build(args), **keywords))
        case {"function": name}:
            return _look_up(name)
        case {"class": name, "fields": dict(fields)} if len(description) == 2:
            return _instance(name, fields)
    raise ValueError(f"an entry with the keys {f'{sorted(description)}':.200} and these values cannot be read")


def _instance(name: Any, fields: dict[str, Any]) -> Any:
    cls = _look_up(name)
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        raise ValueError(f"{name!r} is not a class of models or their parts")
    known = {f.name: f.default is f.default_factory is dataclasses.MISSING for f in dataclasses.fields(cls) if f.init}
    if unknown := set(fields) - set(known):
        raise UnknownName(f"{name} has no field {f'{sorted(unknown)}':.200}")
    if missing := {field for field, required in known.items() if required} - set(fields):
        raise UnknownName(f"{name} requires the fields {sorted(missing)}")
    values = {field: build(value) for field, value in fields.items()}
    return _call(name, lambda: cls(**values))


def _call(name: str, function: Callable[[], Any]) -> Any:
    """Calls `function`, whose arguments come from a file and may have any type."""
    try:
        return function()
    except (AttributeError, TypeError) as error:
        raise ValueError(f"{name} cannot be built from its values: {one_line(error)}") from error


def _look_up(name: Any) -> Any:
    """A class or function by its dotted name, if the allowlist has it."""
    foreign = ValueError(f"{name!r:.200} is not a class or function that a description may name")
    if not isinstance(name, str) or "__" in name:
        raise foreign
    module, _, leaf = name.rpartition(".")
    if module in _PUBLIC:
        value = getattr(_PUBLIC[module], leaf, None)
        if not callable(value) or (module == "jax.numpy" and leaf not in _ELEMENTWISE):
            raise foreign
        return value
    if not _ours(module):
        raise foreign
    try:
        value = getattr(importlib.import_module(module), leaf, None)
    except ImportError:
        value = None
    # not a name that the module only imports
    if not callable(value) or _name_of(value) != name:
        raise UnknownName(f"{name!r:.200} is not a class or function of this version")
    return value
