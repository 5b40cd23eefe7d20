"""Sequences whose causes are known: time series, float32 `[n, T, 1]`, and rows of symbols, uint8 `[n, T]`.

Each function draws `n` rows from `rng` as a batch, as those of `jaxgen.data.toys` do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxgen.data.arrays import ArraySource
from jaxgen.data.sources import Arrays
from jaxgen.data.splits import Splits

LENGTH = 48
NOISE = 0.1
CHAINS, SYMBOLS = 8, 8

TRANSITIONS = np.random.default_rng(0).dirichlet(np.full(SYMBOLS, 2.0), (CHAINS, SYMBOLS))
"""Of `chains`: P(next | symbol) of each, [chains, symbols, symbols], rows from a Dirichlet distribution of 2."""


def sines(rng: np.random.Generator, n: int) -> Arrays:
    """a sin(2 pi f t / 48 + phase) with noise of 0.1 at t = 0 .. 47; no label.

    Uniform in each row: a in 0.5 .. 1.5, f in 1 .. 4 periods, the phase in 0 .. 2 pi.
    """
    amplitude, periods = rng.uniform(0.5, 1.5, (n, 1)), rng.uniform(1, 4, (n, 1))
    phase = rng.uniform(0, 2 * np.pi, (n, 1))
    x = amplitude * np.sin(2 * np.pi * periods * np.arange(LENGTH) / LENGTH + phase)
    return {"x": (x + rng.normal(0, NOISE, x.shape))[..., None].astype(np.float32)}


def chains(rng: np.random.Generator, n: int) -> Arrays:
    """Each row 48 symbols of one of eight Markov chains, all as likely, from a first symbol all as likely; the label
    numbers the chain."""
    label = rng.integers(CHAINS, size=n)
    x = np.zeros((n, LENGTH), np.uint8)
    x[:, 0] = rng.integers(SYMBOLS, size=n)
    for t in range(1, LENGTH):
        below = TRANSITIONS[label, x[:, t - 1]].cumsum(-1)[:, :-1]
        x[:, t] = (rng.random((n, 1)) > below).sum(-1)
    return {"x": x, "label": label.astype(np.int32)}


def log_prob_of_chains(x: np.ndarray) -> np.ndarray:
    """log p(x) of rows [n, T] of `chains`, in nats, [n]: the mixture of all chains."""
    steps = np.log(TRANSITIONS)[:, x[:, :-1], x[:, 1:]].sum(-1)
    return np.logaddexp.reduce(steps, axis=0) - np.log(CHAINS) - np.log(SYMBOLS)


class Kind(NamedTuple):
    """What draws, and the numbers of symbols and of classes where there are any."""

    draw: Callable[[np.random.Generator, int], Arrays]
    levels: int | None = None
    classes: int | None = None


SERIES = {"sines": Kind(sines), "chains": Kind(chains, SYMBOLS, CHAINS)}

SIZES = (20_000, 2_000, 2_000)


def series(name: str) -> Splits:
    """Fixed draws: 20,000 rows to train on, 2,000 each to validate and test, independent of each other."""
    kind = SERIES[name]
    batches = (kind.draw(np.random.default_rng(seed), n) for seed, n in enumerate(SIZES))
    return Splits(*(ArraySource(batch, levels=kind.levels, name=name, classes=kind.classes) for batch in batches))
