"""Pix2Pix (Isola et al. 2017, "Image-to-Image Translation with Conditional Adversarial Networks").

A generator G translates x of domain a to domain b, a critic D scores patches of pairs (x, y). With a the scores and
means over patches, in the paper and the authors' code

    critic:     1/2 [E softplus(-a(x, y)) + E softplus(a(x, G(x)))]
    generator:  E softplus(-a(x, G(x))) + 100 E |y - G(x)|

with |.| the mean over pixels and channels in [-1, 1]. The noise of G is dropout, at test time too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax import lax

from jaxgen.arguments import check_counts, check_number
from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Play, Variables
from jaxgen.metrics.distortion import psnr
from jaxgen.models.forward import forward
from jaxgen.models.gans.adversarial_losses import AdversarialLoss, NonSaturating
from jaxgen.models.translation.domain import Domain, check_domains
from jaxgen.models.translation.networks import ConditionalCritic, Statistics, Translator, translated
from jaxgen.nets.augmentation import Jitter
from jaxgen.nets.conditioning import Concatenate
from jaxgen.nets.patch_critic import PatchCritic
from jaxgen.nets.u_net import UNet


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pix2Pix:
    """Players `critic` and `generator`, each trained by the play of its name, on batches of pairs `{"a", "b"}`.

    The paper's ablations are values: `l1_weight=0` is its cGAN; `adversarial_weight=0` its L1, which has no critic;
    `critic_condition=Unconditional()` its GAN and L1+GAN.

    Attributes:
        a, b: the domains; images of the same resolution.
        generator: any network from a to features; the model adds the last layer, and a tanh for integer data.
        critic: any network from images to scores, [B, ...], with its last layer.
        critic_condition: how the critic takes x.
        adversarial_loss: the critic's and the generator's loss, functions of the scores.
        critic_weight: weight of the critic's loss.
        adversarial_weight, l1_weight: weights of the terms of the generator's loss.
        jitter: applied in training to both parts of a pair, with their channels concatenated; None: none.
        head_size, head_padding: of the last layer if the features have the resolution of the image (`Translator`).
        statistics: what batch normalisation uses at test time. The paper's are those of the test batch of one picture:
            `"picture"`. With larger batches in training, take networks with `InstanceNorm`, or `"batch"`.
    """

    a: Domain
    b: Domain
    generator: nn.Module = UNet()
    critic: nn.Module = PatchCritic()
    critic_condition: nn.Module = Concatenate()
    adversarial_loss: AdversarialLoss = NonSaturating()
    critic_weight: float = 0.5
    adversarial_weight: float = 1.0
    l1_weight: float = 100.0
    jitter: Callable[[Array, Key, Array], Array] | None = Jitter()
    head_size: int = 3
    head_padding: Literal["SAME", "REFLECT"] = "SAME"
    statistics: Statistics = "picture"
    monitor: tuple[str, str] = ("l1", "min")

    def __post_init__(self):
        for name in ("critic_weight", "adversarial_weight", "l1_weight"):
            check_number(name, getattr(self, name), 0)
        check_counts(head_size=self.head_size)
        if self.adversarial_weight == self.l1_weight == 0:
            raise ValueError("`adversarial_weight` or `l1_weight` must be above 0, got 0 for both")
        if self.statistics not in get_args(Statistics):
            raise ValueError(f"`statistics` must be one of {get_args(Statistics)}, got {self.statistics!r}")
        if self.a.event_shape[:-1] != self.b.event_shape[:-1]:
            shapes = f"{self.a.event_shape} and {self.b.event_shape}"
            raise ValueError(f"`a` and `b` must have images of the same resolution, got {shapes}")

    @property
    def _generator(self) -> nn.Module:
        return Translator(self.generator, self.b.event_shape, self.b.bounded, self.head_size, self.head_padding)

    @property
    def _critic(self) -> nn.Module:
        return ConditionalCritic(self.critic, self.critic_condition)

    @property
    def _adversarial(self) -> bool:
        return self.adversarial_weight != 0

    def init(self, key: Key, batch: Batch) -> Variables:
        """Raises:
        ValueError: data of other shapes or types, or without the two domains.
        """
        generator_key, critic_key = jax.random.split(key)
        x, y = self._scaled(batch)
        variables = {"generator": self._generator.init(generator_key, x)}
        if self._adversarial:
            variables["critic"] = self._critic.init(critic_key, y, x)
        return variables

    def plays(self) -> Mapping[str, Play]:
        losses = {"critic": self.critic_loss} if self._adversarial else {}
        losses["generator"] = self.generator_loss
        means = self.adversarial_loss.accumulates if self._adversarial else ("generator",)
        adam = optax.adam(2e-4, b1=0.5)
        return {name: Play((name,), loss, adam, accumulates=name in means) for name, loss in losses.items()}

    def critic_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metrics: the mean scores `real` and `fake`."""
        jitter_key, generator_key, real_key, fake_key = jax.random.split(key, 4)
        critic, (x, y) = variables["critic"], self._jittered(batch, jitter_key, clock)
        fake = lax.stop_gradient(forward(self._generator, variables["generator"], x, key=generator_key)[0])
        on_real, statistics = forward(self._critic, critic, y, x, key=real_key)
        on_fake, statistics = forward(self._critic, {**critic, **statistics}, fake, x, key=fake_key)
        value = self.critic_weight * self.adversarial_loss.critic(on_real, on_fake)
        metrics = {"real": on_real.mean(), "fake": on_fake.mean()}
        return LossOutput(value, metrics, {"critic": statistics})

    def generator_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metrics: the terms `l1` and `adversarial` without their weights."""
        jitter_key, generator_key, critic_key = jax.random.split(key, 3)
        x, y = self._jittered(batch, jitter_key, clock)
        fake, statistics = forward(self._generator, variables["generator"], x, key=generator_key)
        value, metrics = self._generator_terms(variables, x, y, fake, critic_key)
        return LossOutput(value, metrics, {"generator": statistics})

    def _generator_terms(
        self, variables: Variables, x: Array, y: Array, fake: Array, key: Key
    ) -> tuple[Array, dict[str, Array]]:
        """The generator's loss of translations of x, with the target y; and its metrics."""
        metrics = {"l1": jnp.abs(y - fake).mean()}
        value = self.l1_weight * metrics["l1"]
        if self._adversarial:
            score, _ = forward(self._critic, variables["critic"], fake, x, key=key)
            metrics["adversarial"] = self.adversarial_loss.generator(score)
            value += self.adversarial_weight * metrics["adversarial"]
        return value, metrics

    def translate(self, variables: Variables, x: Array, to: str = "b", key: Key | None = None) -> Array:
        """Translations of examples of a, all in data units; with a key, one sample of the noise for each.

        Raises:
            ValueError: `to` is not `"b"`; x of another shape or type.
        """
        if to != "b":
            raise ValueError(f"`to` must be 'b': pix2pix translates one way, got {to!r}")
        y = translated(self._generator, variables["generator"], self.a.scaled(x), self.statistics, key)
        return self.b.data(y)

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """`l1`, the mean absolute error, and for integer data `psnr` in decibels; integers are scaled to [0, 1]."""
        check_domains(batch)
        y = self.b.fraction(batch["b"]["x"])
        fake = self.b.fraction(self.translate(variables, batch["a"]["x"], key=key))
        metrics = {"l1": jnp.abs(y - fake).mean()}
        return metrics | {"psnr": psnr(fake, y, 1.0).mean()} if self.b.bounded else metrics

    def _scaled(self, batch: Batch) -> tuple[Array, Array]:
        check_domains(batch)
        return self.a.scaled(batch["a"]["x"]), self.b.scaled(batch["b"]["x"])

    def _jittered(self, batch: Batch, key: Key, clock: Clock) -> tuple[Array, Array]:
        x, y = self._scaled(batch)
        if self.jitter is None:
            return x, y
        both = self.jitter(jnp.concatenate([x, y], -1), key, clock.phase_step)
        return both[..., : x.shape[-1]], both[..., x.shape[-1] :]
