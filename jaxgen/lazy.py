"""Lazy imports of a package's public names (PEP 562)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def lazy(package: str, public: Sequence[str], homes: Mapping[str, str]) -> tuple[Callable, Callable]:
    """`__getattr__` and `__dir__` of a package that imports its public names at their first use.

    Args:
        public: the package's `__all__`: submodules, and the names in `homes`.
        homes: maps a name to the module that defines it.
    """

    def get(name: str) -> Any:
        if name not in public:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(homes.get(name, f"{package}.{name}"))
        value = getattr(module, name) if name in homes else module
        setattr(sys.modules[package], name, value)
        return value

    return get, lambda: list(public)
