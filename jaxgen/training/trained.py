"""A model together with its trained variables."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxgen.arguments import as_real
from jaxgen.contracts import Model, Variables


class HashableStatic:
    """A static argument of `jax.jit`: compared by value, or by identity if its value has no hash.

    For example, a model that contains `nn.Sequential([...])` has no hash, because of the list.
    """

    def __init__(self, value: Any):
        self.value = value
        try:
            self._hash = hash(value)
        except TypeError:
            self._hash = None

    def __hash__(self) -> int:
        return id(self.value) if self._hash is None else self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, HashableStatic):
            return NotImplemented
        return self.value is other.value or (self._hash is not None and self.value == other.value)


class TrainedModel:
    """A model with its trained variables: the model's methods without `variables`, compiled once for each shape.

    `trained.sample(key, 16)`, `trained.log_prob(x, key)`, and the model's other methods: `encode`, `reconstruct`, ...
    Integers, booleans, strings and lists or tuples of strings are static arguments: each value compiles anew. Arrays,
    keys and floats are traced; lists of numbers become arrays. Methods that do not take variables, and other
    attributes, are the model's own: `trained.bijector`.

    Attributes:
        model: the description.
        variables: by player; averages unless `ema` was 0.
    """

    def __init__(self, model: Model, variables: Variables):
        self.model = model
        self.variables = variables

    def __repr__(self) -> str:
        return f"TrainedModel({type(self.model).__name__}, players={sorted(self.variables)})"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        method = getattr(self.model, name)
        if not inspect.ismethod(method) or next(iter(inspect.signature(method).parameters), None) != "variables":
            return method

        @functools.wraps(method)
        def compiled(*args: Any, **keywords: Any) -> Any:
            arguments = inspect.signature(method).bind(self.variables, *args, **keywords).arguments
            arguments = {k: v if v is self.variables else _argument(k, v) for k, v in arguments.items()}
            static = tuple((k, v) for k, v in arguments.items() if v is None or isinstance(v, (bool, int, str, tuple)))
            traced = {k: v for k, v in arguments.items() if k not in dict(static)}
            return _call(HashableStatic(self.model), name, static, traced)

        return compiled

    def __dir__(self) -> list[str]:
        """The attributes and the model's public names, for tab completion."""
        return sorted({*super().__dir__(), *(name for name in dir(self.model) if not name.startswith("_"))})


def _argument(name: str, value: Any) -> Any:
    """Converts an argument for JAX: lists to arrays, also within a batch, NumPy's scalars to Python's, lists of strings
    to tuples.

    Raises:
        ValueError, TypeError: a list is ragged, or mixes numbers with other values; the message names the argument.
    """
    if isinstance(value, Mapping):
        return {key: _argument(key, part) for key, part in value.items()}
    if isinstance(value, (np.integer, np.bool_)):
        return value.item()
    if isinstance(value, (list, tuple)) and value and all(isinstance(part, str) for part in value):
        return tuple(value)
    return as_real(name, value) if isinstance(value, (list, tuple, np.ndarray)) else value


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _call(model: HashableStatic, method: str, static: tuple[tuple[str, Any], ...], traced: dict[str, Any]) -> Any:
    return getattr(model.value, method)(**dict(static), **traced)
