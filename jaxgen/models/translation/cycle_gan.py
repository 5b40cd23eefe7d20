"""CycleGAN (Zhu et al. 2017, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks").

Generators G: a -> b and F: b -> a, and a critic D of each domain, learn from unpaired examples x of a and y of b:

    critics:     1/2 E (D_b(y) - 1)^2 + 1/2 E D_b(G(x'))^2                      and the same of D_a, x and F(y')
    generators:  E (D_b(G(x)) - 1)^2 + identity_weight E |G(y) - y|             and the same of F
                 + cycle_weight (E |F(G(x)) - x| + E |G(F(y)) - y|)

Absolute differences are averaged over pixels. Critics see G(x') from a pool of earlier translations (`ImagePool`).
`dataclasses.replace(model, cycle_weight=0.0)` and `identity_weight=0.0` are the ablations.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax import lax

from jaxgen.arguments import check_counts, check_number
from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Phase, Play, Variables
from jaxgen.models.forward import forward, without_statistics
from jaxgen.models.gans.adversarial_losses import AdversarialLoss, LeastSquares
from jaxgen.models.translation.domain import OTHER, Domain, check_domains, other
from jaxgen.models.translation.networks import Translator
from jaxgen.models.translation.pool import ImagePool

Transform = Callable[[Array, Key, Array], Array]
"""`(x, key, step) -> x`, such as `jaxgen.nets.Jitter()`."""


def adam_with_linear_decay(rate: float, steps: int, b1: float = 0.5) -> optax.GradientTransformation:
    """Adam with a constant rate in the first half of the steps, which falls linearly to zero in the second."""
    half = steps // 2
    return optax.adam(optax.linear_schedule(rate, 0.0, steps - half, transition_begin=half), b1=b1)


@dataclasses.dataclass(frozen=True)
class CycleGAN:
    """Players `to_a` and `to_b`, the generators, and `critic_a` and `critic_b`; plays `critics` and `generators`.

    Critics move first, with the same translations that the generators' loss has, which are computed once (without
    `jitter`, which differs between plays).

    Attributes:
        generator: any network from a domain to features; the model adds the last layer, and a tanh for integer data.
        critic: any network from a domain to scores, [B, ...]; neither has batch statistics.
        a, b: the domains.
        adversarial_loss: functions of the scores.
        adversarial_weight: of the generators' adversarial loss; 2, because `LeastSquares` halves both players' losses,
            and the paper only the critics'.
        cycle_weight: of the distance between examples and their translations there and back.
        identity_weight: of the distance between examples and their translations to their own domain; half of
            `cycle_weight` in the paper's section 5.2. It must be zero for domains of different shapes.
        pool: earlier translations, one pool for each critic.
        content: features of images on the networks' scale; the generators' loss has the mean absolute difference
            between an example's and its translation's (CartoonGAN, Chen et al. 2018, equation 6).
        content_weight: of this difference.
        negatives: from real examples to what their critic rejects beside translations, on the networks' scale;
            CartoonGAN's is `jaxgen.nets.BlurredEdges()` (equation 3).
        jitter: applied to examples in training.
        head_size: kernel size of the generators' last convolution.
        monitor: the metric of `evaluate` that chooses the best checkpoint, and its direction.
    """

    generator: nn.Module
    critic: nn.Module
    a: Domain
    b: Domain
    _: dataclasses.KW_ONLY
    adversarial_loss: AdversarialLoss = LeastSquares()
    adversarial_weight: float = 2.0
    cycle_weight: float = 10.0
    identity_weight: float = 5.0
    pool: ImagePool = ImagePool(50)
    content: Callable[[Array], Array] | None = None
    content_weight: float = 10.0
    negatives: Callable[[Array], Array] | None = None
    jitter: Transform | None = None
    head_size: int = 7
    monitor: tuple[str, str] = ("cycle", "min")

    def __post_init__(self):
        for name in ("adversarial_weight", "cycle_weight", "identity_weight", "content_weight"):
            check_number(name, getattr(self, name), 0)
        check_counts(head_size=self.head_size)
        if self.identity_weight and self.a.event_shape != self.b.event_shape:
            raise ValueError(
                f"`identity_weight` must be 0 for domains of different shapes, {self.a.event_shape} and "
                f"{self.b.event_shape}, got {self.identity_weight}"
            )

    def init(self, key: Key, batch: Batch) -> Variables:
        """Raises:
        ValueError: a batch without both domains; data of another shape or type; networks with batch statistics.
        """
        variables, x = {}, self._scaled(batch)
        for i, domain in enumerate(OTHER):
            generator_key, critic_key = jax.random.split(jax.random.fold_in(key, i))
            generator = self._generator(domain).init(generator_key, x[other(domain)])
            critic = self.critic.init(critic_key, x[domain])
            variables[f"to_{domain}"] = without_statistics("generator", generator)
            pool = {"pool": self.pool.init(x[domain][0])}
            variables[f"critic_{domain}"] = {**without_statistics("critic", critic), **pool}
        return variables

    def plays(self) -> dict[str, Play]:
        return self._plays(optax.adam(2e-4, b1=0.5))

    def phases(self, steps: int) -> tuple[Phase, ...]:
        """One phase, in whose second half the rate of the plays falls to zero."""
        return (Phase(self._plays(adam_with_linear_decay(2e-4, steps)), steps),)

    def _plays(self, optimizer: optax.GradientTransformation) -> dict[str, Play]:
        means = self.adversarial_loss.accumulates
        critics, generators = not self.pool.size and "critic" in means, "generator" in means
        return {
            "critics": Play(("critic_a", "critic_b"), self.critics_loss, optimizer, accumulates=critics),
            "generators": Play(("to_a", "to_b"), self.generators_loss, optimizer, accumulates=generators),
        }

    def critics_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metrics: the mean scores `real_a`, `fake_a`, `real_b` and `fake_b`."""
        x, value, metrics, memory = self._examples(batch, key, clock), 0.0, {}, {}
        for i, domain in enumerate(OTHER):
            translation_key, pool_key, *keys = jax.random.split(jax.random.fold_in(key, i), 5)
            critic, real = f"critic_{domain}", x[domain]
            fake = lax.stop_gradient(self._translations(variables, domain, x, translation_key)[0])
            shown, pool = self.pool.replay(variables[critic]["pool"], fake, pool_key)
            on_real, on_fake = (self._score(variables, domain, seen, k) for seen, k in zip((real, shown), keys))
            value += self.adversarial_loss.critic(on_real, on_fake)
            if self.negatives is not None:
                on_negative = self._score(variables, domain, self.negatives(real), keys[2])
                # a further term of rejected examples: data count once
                value += self.adversarial_loss.critic(lax.stop_gradient(on_real), on_negative)
            metrics |= {f"real_{domain}": on_real.mean(), f"fake_{domain}": on_fake.mean()}
            memory |= {critic: {"pool": pool}} if self.pool.size else {}
        return LossOutput(value, metrics, memory=memory)

    def generators_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metrics: the parts of the loss without their weights, `adversarial`, `cycle`, `identity` and `content`, those
        of weight zero left out.
        """
        x, keys = self._examples(batch, key, clock), jax.random.split(key, len(OTHER))
        fake, parts = {}, collections.defaultdict(float)
        for domain, domain_key in zip(OTHER, keys, strict=True):
            translation_key, critic_key = jax.random.split(domain_key)
            fake[domain], same = self._translations(variables, domain, x, translation_key)
            scores = self._score(variables, domain, fake[domain], critic_key)
            parts["adversarial"] += self.adversarial_loss.generator(scores)
            if self.identity_weight:
                parts["identity"] += jnp.abs(same - x[domain]).mean()
            if self.content is not None:
                parts["content"] += jnp.abs(self.content(fake[domain]) - self.content(x[other(domain)])).mean()
        if self.cycle_weight:
            for domain, domain_key in zip(OTHER, keys, strict=True):
                back = self._translate(variables, domain, fake[other(domain)], jax.random.fold_in(domain_key, 2))
                parts["cycle"] += jnp.abs(back - x[domain]).mean()
        return LossOutput(sum(getattr(self, f"{name}_weight") * part for name, part in parts.items()), dict(parts))

    def translate(self, variables: Variables, x: Array, to: str = "b", key: Key | None = None) -> Array:
        """Translations of examples of the other domain, in data units."""
        y = self._translate(variables, to, self._domain(other(to)).scaled(x), key, train=False)
        return self._domain(to).data(y)

    def reconstruct(self, variables: Variables, x: Array, domain: str = "a", key: Key | None = None) -> Array:
        """Examples of a domain translated there and back, in data units."""
        translation = self._translate(variables, other(domain), self._domain(domain).scaled(x), key, train=False)
        return self._domain(domain).data(self._translate(variables, domain, translation, key, train=False))

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """`cycle_a`, `cycle_b`: mean absolute difference between examples and `reconstruct`, integers as fractions of
        their range; `cycle`, their mean.
        """
        check_domains(batch)
        metrics = {}
        for domain in OTHER:
            x, fraction = batch[domain]["x"], self._domain(domain).fraction
            back = self.reconstruct(variables, x, domain)
            metrics[f"cycle_{domain}"] = jnp.abs(fraction(back) - fraction(x)).mean()
        return {"cycle": (metrics["cycle_a"] + metrics["cycle_b"]) / 2, **metrics}

    def _domain(self, name: str) -> Domain:
        return {"a": self.a, "b": self.b}[name]

    def _generator(self, domain: str) -> Translator:
        """The network whose translations are in a domain."""
        to = self._domain(domain)
        return Translator(self.generator, to.event_shape, to.bounded, self.head_size, "REFLECT")

    def _scaled(self, batch: Batch) -> dict[str, Array]:
        check_domains(batch)
        return {domain: self._domain(domain).scaled(batch[domain]["x"]) for domain in OTHER}

    def _examples(self, batch: Batch, key: Key, clock: Clock) -> dict[str, Array]:
        """Examples on the networks' scale, as training sees them."""
        x = self._scaled(batch)
        if self.jitter is None:
            return x
        keys = jax.random.split(jax.random.fold_in(key, len(OTHER)), len(OTHER))
        return {domain: self.jitter(x[domain], k, clock.phase_step) for domain, k in zip(OTHER, keys, strict=True)}

    def _translate(
        self, variables: Variables, to: str, x: Array, key: Key | None = None, train: bool | None = None
    ) -> Array:
        return forward(self._generator(to), variables[f"to_{to}"], x, key=key, train=train)[0]

    def _translations(self, variables: Variables, to: str, x: Mapping[str, Array], key: Key) -> tuple[Array, Array]:
        """Translations to a domain, of examples of the other one and, with an identity term, of its own."""
        origin, own = x[other(to)], x[to]
        if not self.identity_weight:
            return self._translate(variables, to, origin, key), own
        if len(origin) != len(own):
            own_key = jax.random.fold_in(key, 1)
            return self._translate(variables, to, origin, key), self._translate(variables, to, own, own_key)
        # one batch of both, in which each device keeps its own examples
        pairs = jnp.stack([origin, own], 1)
        y = self._translate(variables, to, pairs.reshape(-1, *origin.shape[1:]), key).reshape(pairs.shape)
        return y[:, 0], y[:, 1]

    def _score(self, variables: Variables, domain: str, x: Array, key: Key) -> Array:
        critic = {name: tree for name, tree in variables[f"critic_{domain}"].items() if name != "pool"}
        return forward(self.critic, critic, x, key=key)[0]
