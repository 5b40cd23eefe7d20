"""MADE: masks that make a dense network autoregressive (Germain et al. 2015, arXiv:1502.03509, section 4).

Every unit of the network has a degree: input i and output i have degree i, from 1 to D, and a hidden unit of degree m
may depend on inputs of degree at most m. A hidden unit is connected to the units of the previous layer whose degree is
at most its own, an output to those of smaller degree: output i is a function of the inputs 1, ..., i - 1. A context has
degree 0: everything may depend on it.

Degrees are in the order of the inputs; another order is a permutation of inputs and outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np


def hidden_degrees(lowest: int, highest: int, width: int) -> np.ndarray:
    """The degrees of a layer of `width` units, sorted and spread evenly from `lowest` to `highest`, which is present.

    A layer with too few units for every degree skips some between its ends.
    """
    count = highest - lowest + 1
    if width >= count:
        return lowest + np.arange(width) * count // width
    return np.rint(np.linspace(highest, lowest, width)).astype(int)[::-1]


def degrees(features: int, widths: Sequence[int], context: int = 0) -> tuple[np.ndarray, ...]:
    """The degrees of every layer: inputs (`context` features, then `features` coordinates), hidden layers, outputs.

    No hidden unit is dead: each depends on an input, and an output depends on it. Therefore a single coordinate without
    context has no hidden layers, and the degrees of a layer start at the lowest of the previous layer. If every hidden
    layer has at least `features` units, output i depends on all inputs before i.

    Raises:
        ValueError: a width below 1.
    """
    if any(width < 1 for width in widths):
        raise ValueError(f"`widths` must be at least 1, got {tuple(widths)}")
    coordinates = np.arange(1, features + 1)
    layers = [np.concatenate([np.zeros(context, int), coordinates])]
    if features > 1 or context:
        for width in widths:
            layers.append(hidden_degrees(layers[-1].min(), features - 1, width))
    return (*layers, coordinates)


def masks(degrees: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """The connections: a boolean [inputs, outputs] for every layer of weights, the output layer last."""
    *hidden, outputs = degrees
    return (*(before[:, None] <= after for before, after in pairwise(hidden)), hidden[-1][:, None] < outputs)
