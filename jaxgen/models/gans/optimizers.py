"""Optimizers as values, so that a game is one: called, they give an optax transformation."""

from __future__ import annotations

import dataclasses
from typing import Protocol

import optax

from jaxgen.losses.clipping import clip_weights


class Optimizer(Protocol):
    """Makes a new transformation at each call; two equal ones make the same."""

    def __call__(self) -> optax.GradientTransformation: ...


@dataclasses.dataclass(frozen=True)
class Adam:
    """By default that of Radford et al. 2016, section 4.

    Attributes:
        steps: the play's own moves over which the rate falls linearly to zero; None: it stays.
    """

    learning_rate: float = 2e-4
    b1: float = 0.5
    b2: float = 0.999
    steps: int | None = None

    def __call__(self) -> optax.GradientTransformation:
        rate = self.learning_rate
        if self.steps is not None:
            rate = optax.linear_schedule(rate, 0.0, self.steps)
        return optax.adam(rate, self.b1, self.b2)


@dataclasses.dataclass(frozen=True)
class ClippedRMSProp:
    """RMSProp, and after each move every weight within +-`bound`: Arjovsky et al. 2017, algorithm 1.

    Attributes:
        bound: None for none, as the generator of that algorithm is moved.
    """

    learning_rate: float = 5e-5
    bound: float | None = 0.01

    def __call__(self) -> optax.GradientTransformation:
        rmsprop = optax.rmsprop(self.learning_rate, decay=0.99)
        return rmsprop if self.bound is None else optax.chain(rmsprop, clip_weights(self.bound))
