"""Penalties on a critic as values, each a term of the critic's loss."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import ClassVar, Protocol

import jax
import jax.numpy as jnp

from jaxgen.contracts import Array, Clock, Key
from jaxgen.losses.penalties import (
    Critic,
    consistency_penalty,
    dragan_points,
    gradient_norm,
    gradient_penalty,
    norm_penalty,
    zero_centred_penalty,
)


class Penalty(Protocol):
    accumulates: bool
    """Whether it is a mean over examples (`jaxgen.contracts.Play`); DRAGAN's points depend on the batch."""

    def __call__(self, critic: Critic, real: Array, fake: Array, key: Key, clock: Clock) -> Array:
        """A scalar to be minimised by the critic.

        Args:
            critic: [B, ...] to [B], each output a function of its own row alone.
            real, fake: [B, ...] as the critic sees them; no gradient should flow into the fakes.
        """


@dataclasses.dataclass(frozen=True)
class GradientPenalty:
    """Gulrajani et al. 2017: slopes of `target` between real and generated rows.

    Attributes:
        one_sided: slopes of at most `target`.
    """

    accumulates: ClassVar = True

    weight: float = 10.0
    target: float = 1.0
    one_sided: bool = False

    def __call__(self, critic: Critic, real: Array, fake: Array, key: Key, clock: Clock) -> Array:
        return gradient_penalty(critic, real, fake, key, self.target, self.weight, self.one_sided)


@dataclasses.dataclass(frozen=True)
class DRAGAN:
    """Kodali et al. 2017: slopes of one around the real rows.

    Attributes:
        shrink: as in `jaxgen.losses.dragan_points`.
    """

    accumulates: ClassVar = False

    weight: float = 10.0
    shrink: bool = False

    def __call__(self, critic: Critic, real: Array, fake: Array, key: Key, clock: Clock) -> Array:
        points = dragan_points(real, key, self.shrink)
        return norm_penalty(gradient_norm(critic, points), weight=self.weight)


@dataclasses.dataclass(frozen=True)
class R1:
    """Mescheder et al. 2018: slopes of zero at the real rows; the weight is their gamma, halved in the loss."""

    accumulates: ClassVar = True

    weight: float = 10.0

    def __call__(self, critic: Critic, real: Array, fake: Array, key: Key, clock: Clock) -> Array:
        return zero_centred_penalty(critic, real, self.weight)


@dataclasses.dataclass(frozen=True)
class R2:
    """Mescheder et al. 2018: slopes of zero at the generated rows; the weight is their gamma, halved in the loss."""

    accumulates: ClassVar = True

    weight: float = 10.0

    def __call__(self, critic: Critic, real: Array, fake: Array, key: Key, clock: Clock) -> Array:
        return zero_centred_penalty(critic, fake, self.weight)


@dataclasses.dataclass(frozen=True)
class Consistency:
    """Zhang et al. 2020: a real row and its augmentation are scored alike.

    Attributes:
        weight: the paper's is 10.
        transform: `(x, key, step) -> x`, the augmentation.
    """

    accumulates: ClassVar = True

    weight: float
    transform: Callable[[Array, Key, Array], Array]

    def __call__(self, critic: Critic, real: Array, fake: Array, key: Key, clock: Clock) -> Array:
        return consistency_penalty(critic(real), critic(self.transform(real, key, clock.phase_step)), self.weight)


@dataclasses.dataclass(frozen=True)
class Lazy:
    """Another penalty, computed only on the last of each n moves of the critic, n times as strong there.

    Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", section 3.1: the penalty of R1 each 16
    steps. At other moves the value is zero, and costs nothing.

    Attributes:
        every: n, in moves of the critic.
    """

    penalty: Penalty
    every: int

    @property
    def accumulates(self) -> bool:
        return self.penalty.accumulates

    def __call__(self, critic: Critic, real: Array, fake: Array, key: Key, clock: Clock) -> Array:
        def computed() -> Array:
            return self.every * self.penalty(critic, real, fake, key, clock)

        dtype = jax.eval_shape(computed).dtype
        return jax.lax.cond(clock.moves % self.every == self.every - 1, computed, lambda: jnp.zeros((), dtype))
