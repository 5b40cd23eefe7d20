"""A model together with its trained variables: what notebooks hold in their hands."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxgen.arguments import real
from jaxgen.contracts import Model, Variables


class HashableStatic:
    """A static argument of `jax.jit`: compared by value, or by identity where its value has no hash.

    A model with `nn.Sequential([...])` in it has none, because of the list.
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
    Python integers (a number of samples) are compiled in; arrays, keys and floats are not. Lists become arrays. Methods
    that do not take variables and other attributes are the model's own: `trained.bijector`.

    Attributes:
        model: the description.
        variables: by player; averages where the run kept any.
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
        def bound(*args: Any, **keywords: Any) -> Any:
            given = inspect.signature(method).bind(self.variables, *args, **keywords).arguments
            given = {k: v if v is self.variables else _argument(k, v) for k, v in given.items()}
            fixed = tuple((k, v) for k, v in given.items() if v is None or isinstance(v, (bool, int, str)))
            traced = {k: v for k, v in given.items() if k not in dict(fixed)}
            return _call(HashableStatic(self.model), name, fixed, traced)

        return bound

    def __dir__(self) -> list[str]:
        """Tab completion offers the model's public names too."""
        return sorted({*super().__dir__(), *(name for name in dir(self.model) if not name.startswith("_"))})


def _argument(name: str, value: Any) -> Any:
    """An argument as JAX takes it: lists as arrays, also within a batch, and numbers and booleans of NumPy as Python's.

    Raises:
        ValueError, TypeError: naming the argument: ragged rows, or words in place of numbers.
    """
    if isinstance(value, Mapping):
        return {key: _argument(key, part) for key, part in value.items()}
    if isinstance(value, (np.integer, np.bool_)):
        return value.item()
    return real(name, value) if isinstance(value, (list, tuple, np.ndarray)) else value


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _call(model: HashableStatic, method: str, fixed: tuple[tuple[str, Any], ...], traced: dict[str, Any]) -> Any:
    return getattr(model.value, method)(**dict(fixed), **traced)
