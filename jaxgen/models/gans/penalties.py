"""Penalties on a critic's slope or on its change under augmentation, as terms of a GAN."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

import jax
import jax.numpy as jnp

from jaxgen.arguments import check_counts
from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Variables
from jaxgen.losses.penalties import (
    Critic,
    consistency_penalty,
    dragan_points,
    gradient_norm,
    gradient_penalty,
    norm_penalty,
    zero_centred_penalty,
)
from jaxgen.models.gans.terms import PLAYS, ForwardPass, Term

if TYPE_CHECKING:
    from jaxgen.models.gans.gan import GAN


class Penalty(Term):
    """Added to the critic's loss; its metric `penalty` is the sum of all penalties of a GAN."""

    accumulates: ClassVar = PLAYS

    def __call__(self, critic: Critic, real: Array, fake: Array, key: Key, clock: Clock) -> Array:
        """A scalar that the critic minimises.

        Args:
            critic: [B, ...] to [B], each output a function of its own example alone.
            real, fake: [B, ...] as the critic sees them; `fake` without gradient.
        """
        raise NotImplementedError

    def init(self, gan: GAN, variables: Variables, batch: Batch, key: Key) -> Variables:
        """Raises:
        ValueError: a critic with batch statistics.
        """
        if "batch_stats" in variables["critic"]:
            raise ValueError(
                "a penalty requires a critic without batch statistics, which make the score of an example depend on "
                "the other examples: use layer or spectral normalisation, or none"
            )
        return variables

    def critic_loss(self, computed: ForwardPass) -> LossOutput:
        value = self(computed.score, computed.real, computed.fake, computed.key, computed.clock)
        return LossOutput(value, {"penalty": value})


@dataclasses.dataclass(frozen=True)
class GradientPenalty(Penalty):
    """WGAN-GP, Gulrajani et al. 2017: weight E (|grad f(x^)| - target)^2, x^ uniform between data and samples.

    Attributes:
        one_sided: whether only slopes above `target` are penalised.
    """

    weight: float = 10.0
    target: float = 1.0
    one_sided: bool = False

    def __call__(self, critic: Critic, real: Array, fake: Array, key: Key, clock: Clock) -> Array:
        return gradient_penalty(critic, real, fake, key, self.target, self.weight, self.one_sided)


@dataclasses.dataclass(frozen=True)
class DRAGAN(Penalty):
    """Kodali et al. 2017: weight E (|grad f(x^)| - 1)^2, x^ around the data, as far as their standard deviation.

    Attributes:
        shrink: as in `jaxgen.losses.dragan_points`.
    """

    accumulates: ClassVar = ("generator",)

    weight: float = 10.0
    shrink: bool = False

    def __call__(self, critic: Critic, real: Array, fake: Array, key: Key, clock: Clock) -> Array:
        points = dragan_points(real, key, self.shrink)
        return norm_penalty(gradient_norm(critic, points), weight=self.weight)


@dataclasses.dataclass(frozen=True)
class R1(Penalty):
    """Mescheder et al. 2018: weight / 2 E |grad f(x)|^2 on data."""

    weight: float = 10.0

    def __call__(self, critic: Critic, real: Array, fake: Array, key: Key, clock: Clock) -> Array:
        return zero_centred_penalty(critic, real, self.weight)


@dataclasses.dataclass(frozen=True)
class R2(Penalty):
    """Mescheder et al. 2018: weight / 2 E |grad f(G(z))|^2 on samples."""

    weight: float = 10.0

    def __call__(self, critic: Critic, real: Array, fake: Array, key: Key, clock: Clock) -> Array:
        return zero_centred_penalty(critic, fake, self.weight)


@dataclasses.dataclass(frozen=True)
class Consistency(Penalty):
    """Zhang et al. 2020: weight E |f(x) - f(T(x))|^2 for augmented data T(x).

    Attributes:
        weight: the paper's is 10.
        transform: the augmentation T, `(x, key, step) -> x`.
    """

    weight: float
    transform: Callable[[Array, Key, Array], Array]

    def __call__(self, critic: Critic, real: Array, fake: Array, key: Key, clock: Clock) -> Array:
        return consistency_penalty(critic(real), critic(self.transform(real, key, clock.phase_step)), self.weight)


@dataclasses.dataclass(frozen=True)
class Lazy(Penalty):
    """Another penalty on the last of each `every` moves of the critic, `every` times as strong.

    Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", section 3.1: R1 every 16 steps. At
    other moves the value is zero and is not computed.
    """

    penalty: Penalty
    every: int

    def __post_init__(self):
        check_counts(every=self.every)

    @property
    def accumulates(self) -> tuple[str, ...]:
        return self.penalty.accumulates

    def __call__(self, critic: Critic, real: Array, fake: Array, key: Key, clock: Clock) -> Array:
        def computed() -> Array:
            return self.every * self.penalty(critic, real, fake, key, clock)

        dtype = jax.eval_shape(computed).dtype
        return jax.lax.cond(clock.moves % self.every == self.every - 1, computed, lambda: jnp.zeros((), dtype))
