"""Synthetic sequences: time series, float32 `[n, T, D]`, and symbols, uint8 `[n, T]`.

Each function draws a batch of `n` sequences from `rng`.
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
"""P(next | symbol) of each chain, [chains, symbols, symbols]; each row was drawn from Dirichlet(2, ..., 2)."""


def sines(rng: np.random.Generator, n: int) -> Arrays:
    """a sin(2 pi f t / 48 + phase) with noise of standard deviation 0.1 at t = 0 .. 47; no label.

    Uniform per sequence: a in 0.5 .. 1.5, f in 1 .. 4 periods, the phase in 0 .. 2 pi.
    """
    amplitude, periods = rng.uniform(0.5, 1.5, (n, 1)), rng.uniform(1, 4, (n, 1))
    phase = rng.uniform(0, 2 * np.pi, (n, 1))
    x = amplitude * np.sin(2 * np.pi * periods * np.arange(LENGTH) / LENGTH + phase)
    return {"x": (x + rng.normal(0, NOISE, x.shape))[..., None].astype(np.float32)}


def rc_gan_sines(rng: np.random.Generator, n: int) -> Arrays:
    """a sin(2 pi f t / 30 + phase) at t = 1 .. 30, [n, 30, 1]; a in 0.1 .. 0.9, f in 1 .. 5, the phase in -pi .. pi.

    Esteban et al. 2017, "Real-valued (Medical) Time Series Generation with Recurrent Conditional GANs", section 4.1.
    """
    amplitude, periods = rng.uniform(0.1, 0.9, (n, 1)), rng.uniform(1, 5, (n, 1))
    phase = rng.uniform(-np.pi, np.pi, (n, 1))
    x = amplitude * np.sin(2 * np.pi * periods * np.arange(1, 31) / 30 + phase)
    return {"x": x[..., None].astype(np.float32)}


def time_gan_sines(rng: np.random.Generator, n: int) -> Arrays:
    """(1 + sin(f t + phase)) / 2 at t = 0 .. 23, five independent columns [n, 24, 5]; f and phase in 0 .. 0.1.

    The data of the authors' code. The paper (Yoon et al. 2019, "Time-series Generative Adversarial Networks", section
    5) writes sin(2 pi f t + phase) with f in 0 .. 1 and the phase in -pi .. pi: its figures are of the former, in which
    no column ever completes half a period.
    """
    f, phase = rng.uniform(0, 0.1, (n, 1, 5)), rng.uniform(0, 0.1, (n, 1, 5))
    return {"x": ((1 + np.sin(f * np.arange(24)[:, None] + phase)) / 2).astype(np.float32)}


def chains(rng: np.random.Generator, n: int) -> Arrays:
    """48 symbols from one of eight equally likely Markov chains, the label, with a uniform first symbol."""
    label = rng.integers(CHAINS, size=n)
    x = np.zeros((n, LENGTH), np.uint8)
    x[:, 0] = rng.integers(SYMBOLS, size=n)
    for t in range(1, LENGTH):
        below = TRANSITIONS[label, x[:, t - 1]].cumsum(-1)[:, :-1]
        x[:, t] = (rng.random((n, 1)) > below).sum(-1)
    return {"x": x, "label": label.astype(np.int32)}


def log_prob_of_chains(x: np.ndarray) -> np.ndarray:
    """log p(x) of the mixture of all chains, in nats: [n, T] to [n]."""
    steps = np.log(TRANSITIONS)[:, x[:, :-1], x[:, 1:]].sum(-1)
    return np.logaddexp.reduce(steps, axis=0) - np.log(CHAINS) - np.log(SYMBOLS)


class Series(NamedTuple):
    """A function that draws a batch, and the numbers of its symbols and classes, if any."""

    draw: Callable[[np.random.Generator, int], Arrays]
    levels: int | None = None
    num_classes: int | None = None


SERIES = {
    "sines": Series(sines),
    "rc_gan_sines": Series(rc_gan_sines),
    "time_gan_sines": Series(time_gan_sines),
    "chains": Series(chains, SYMBOLS, CHAINS),
}

SIZES = (20_000, 2_000, 2_000)


def series(name: str) -> Splits:
    """Fixed, independent samples: 20,000 training, 2,000 validation and 2,000 test examples."""
    draw, levels, num_classes = SERIES[name]
    batches = (draw(np.random.default_rng(seed), n) for seed, n in enumerate(SIZES))
    return Splits(*(ArraySource(batch, levels=levels, name=name, num_classes=num_classes) for batch in batches))
