"""Figures of several seeds: their means, and how sure these are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def standard_error(values: Sequence[float]) -> float:
    """Of the mean: s / sqrt(n), with the sample's standard deviation s."""
    return float(np.std(values, ddof=1) / len(values) ** 0.5)


def mean_and_error(results: Sequence[Mapping[str, float]]) -> tuple[dict[str, float], dict[str, float]]:
    """By figure, over two results or more: the mean and its standard error."""
    by_name = {name: [result[name] for result in results] for name in results[0]}
    return {n: float(np.mean(v)) for n, v in by_name.items()}, {n: standard_error(v) for n, v in by_name.items()}


def spread(values: Sequence[float], digits: int) -> str:
    """As text: the mean, and where there are several values its standard error."""
    error = f" ± {standard_error(values):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{error}"
