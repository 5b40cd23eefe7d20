"""Weights of a translator's losses, and whose turn it is: what the authors of DiscoGAN change with the clock."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp

from jaxgen.arguments import check_counts, check_number
from jaxgen.contracts import Array, Clock


@dataclasses.dataclass(frozen=True)
class Balance:
    """Constant weights of a generator's adversarial, feature matching and reconstruction losses; by default DiscoGAN's.
    """

    adversarial: float | Array = 1.0
    features: float | Array = 0.0
    reconstruction: float | Array = 1.0

    def __post_init__(self):
        for field in dataclasses.fields(self):
            check_number(field.name, getattr(self, field.name), 0)

    def at(self, clock: Clock) -> Balance:
        """The weights at a step."""
        return self


@dataclasses.dataclass(frozen=True)
class Curriculum:
    """The weights of DiscoGAN's code: r for the reconstruction and 1 - r for the two others, where r is small at first.

    Attributes:
        adversarial, features: weights within the share 1 - r.
        start: r in the first `steps` steps of the run.
        rate: r afterwards. In the authors' experiments on angles, both are 0.9.
    """

    adversarial: float = 0.1
    features: float = 0.9
    start: float = 0.01
    rate: float = 0.5
    steps: int = 10_000

    def __post_init__(self):
        check_counts(0, steps=self.steps)
        check_number("adversarial", self.adversarial, 0)
        check_number("features", self.features, 0)
        check_number("start", self.start, 0, 1)
        check_number("rate", self.rate, 0, 1)

    def at(self, clock: Clock) -> Balance:
        """The weights at a step of the run."""
        r = jnp.where(jnp.asarray(clock.step) < self.steps, self.start, self.rate)
        return Balance(self.adversarial * (1 - r), self.features * (1 - r), r)


class Turn(NamedTuple):
    """Runs a play on the first of each `n` steps of a phase, or on all others."""

    n: int
    first: bool = True

    def __call__(self, clock: Clock) -> Array:
        return (jnp.asarray(clock.phase_step) % self.n == 0) == self.first
