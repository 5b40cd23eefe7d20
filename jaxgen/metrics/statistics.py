"""Means over seeds and their standard errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

__all__ = ["mean_and_error", "standard_error", "with_error"]


def standard_error(values: Sequence[float]) -> float:
    """The standard error of the mean, s / sqrt(n), with the sample's standard deviation s, of n >= 2 values."""
    return float(np.std(values, ddof=1) / len(values) ** 0.5)


def mean_and_error(results: Sequence[Mapping[str, float]]) -> tuple[dict[str, float], dict[str, float]]:
    """Mean and standard error of each metric over two results or more."""
    values = {name: [result[name] for result in results] for name in results[0]}
    return {n: float(np.mean(v)) for n, v in values.items()}, {n: standard_error(v) for n, v in values.items()}


def with_error(values: Sequence[float], digits: int) -> str:
    """The mean as text, with its standard error if there are several values: `1.50 ± 0.25`."""
    error = f" ± {standard_error(values):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{error}"
