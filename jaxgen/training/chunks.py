"""Functions of batches on more examples than fit in one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def in_chunks(function: Callable[..., Any], *arrays: Any, size: int) -> Any:
    """A function of batches, applied to `size` examples at a time; its results, arrays or trees, are concatenated."""
    parts = [function(*(array[i : i + size] for array in arrays)) for i in range(0, len(arrays[0]), size)]
    return jax.tree.map(lambda *leaves: np.concatenate([np.asarray(leaf) for leaf in leaves]), *parts)
