"""Generative adversarial networks (Goodfellow et al. 2014, "Generative Adversarial Nets"); variants are values.

A generator G maps noise z to samples, a critic D scores samples and data:

    critic:     adversarial_loss.critic(D(x), D(G(z))) + sum of term.critic_loss
    generator:  adversarial_loss.generator(D(G(z)))    + sum of term.generator_loss

LSGAN is `dataclasses.replace(gan, adversarial_loss=LeastSquares())`, an ACGAN `terms=(ClassLoss(10),)`, PacGAN
`packing=2`, a projection critic `critic_condition=Projection()`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax import lax

from jaxgen.arguments import as_batch, broadcast_context, check_counts, check_shape, freeze_fields
from jaxgen.contracts import Array, Batch, Clock, Collections, Every, Key, LossOutput, Play, Variables
from jaxgen.distributions.normal import StandardNormal
from jaxgen.distributions.standard import StandardDistribution
from jaxgen.metrics.collapse import distance_ratio
from jaxgen.metrics.distances import sample_distances
from jaxgen.models.gans.adversarial_losses import AdversarialLoss, NonSaturating
from jaxgen.models.gans.networks import Critic, CriticOutput, Generator, RelaxedSymbols
from jaxgen.models.gans.packing import pack
from jaxgen.models.gans.terms import ForwardPass, Term, add_terms, check_terms
from jaxgen.models.forward import forward
from jaxgen.models.scaling import from_data, to_data
from jaxgen.nets.conditioning import Concatenate, Unconditional
from jaxgen.nets.heads import ScalarHead
from jaxgen.nets.interaction import examples_interact
from jaxgen.sharding import sharded

COMPARED = 64
"""Examples whose distances each step reports: all of them would gather a large batch on every device."""
Transform = Callable[[Array, Key, Array], Array]
"""`(x, key, step) -> x`, applied to the critic's input: instance noise, augmentations; `step` counts in the phase."""


@dataclasses.dataclass(frozen=True)
class GAN:
    """Players `critic` and `generator`, each trained by the play of its name, and those that terms add.

    Attributes:
        generator: any network from latents to features; the model adds the last layer, and a tanh for integer data.
        critic: any network from data to features; the model adds `critic_head`.
        event_shape: shape of an example, without the batch.
        latent_dim: dimension of z, without the codes of a term.
        levels: the data are integers 0..levels-1, scaled to [-1, 1] for the networks; None: they are floats.
        relaxation: for symbols 0..levels-1: from the generator's logits to its samples, [B, *event_shape, levels]
            (`jaxgen.nets.relaxations`), and the critic sees the data one-hot; None: integers are scaled.
        prior: distribution of z; None: standard normal.
        adversarial_loss: the critic's and the generator's loss, functions of the scores.
        terms: what variants add to the two losses: penalties, `ClassLoss`, `Information`, `Bottleneck`, `Proximal`, ...
        packing: examples that the critic scores together, concatenated on the last axis (Lin et al. 2018, "PacGAN").
        critic_steps: moves of the critic, each on a batch of its own, per move of the generator.
        generator_condition, critic_condition: None: the context is concatenated, or ignored if a term hides it.
        generator_head: the generator's last layer, from features to an event; None: `EventHead`, and a tanh for integer
            data.
        critic_head: the critic's last layer, from features to a score, or to scores of positions, [B, ...].
        transforms: applied in order to data and samples before the critic sees them in training.
        metrics: `(real, fake) -> {name: scalar}` on samples in data units, reported by `evaluate`.
        monitor: the metric of `evaluate` that chooses the best checkpoint, and its direction.
    """

    generator: nn.Module
    critic: nn.Module
    event_shape: tuple[int, ...]
    _: dataclasses.KW_ONLY
    latent_dim: int = 100
    levels: int | None = None
    relaxation: nn.Module | None = None
    prior: StandardDistribution | None = None
    adversarial_loss: AdversarialLoss = NonSaturating()
    terms: tuple[Term, ...] = ()
    packing: int = 1
    critic_steps: int = 1
    generator_condition: nn.Module = Concatenate()
    critic_condition: nn.Module | None = None
    generator_head: nn.Module | None = None
    critic_head: nn.Module = ScalarHead()
    transforms: tuple[Transform, ...] = ()
    metrics: Callable[[Array, Array], Mapping[str, Array]] = sample_distances
    monitor: tuple[str, str] = ("sliced_wasserstein", "min")

    def __post_init__(self):
        freeze_fields(self)
        check_shape(self.event_shape)
        check_counts(latent_dim=self.latent_dim, packing=self.packing, critic_steps=self.critic_steps)
        if self.levels is not None:
            check_counts(2, levels=self.levels)
        elif self.relaxation is not None:
            raise ValueError("`relaxation` requires data of integers 0..levels-1, got levels=None")
        if self.relaxation is not None and self.generator_head is not None:
            raise ValueError("`generator_head` must be None with a `relaxation`, which has a head of its own")
        check_terms(self)

    def _optimizer(self, play: str) -> optax.GradientTransformation:
        """The paper's, here that of Radford et al. 2016 ("DCGAN"), section 4."""
        return optax.adam(2e-4, b1=0.5)

    @property
    def _generator(self) -> nn.Module:
        bounded, head = self.levels is not None, self.generator_head
        if self.relaxation is not None:
            head = RelaxedSymbols(self.event_shape, self.levels, self.relaxation)
        return Generator(self.generator, self.generator_condition, self.event_shape, bounded, head)

    @property
    def _condition(self) -> nn.Module:
        hidden = any(term.hides_context for term in self.terms)
        return self.critic_condition or (Unconditional() if hidden else Concatenate())

    def _critic(self, deterministic: bool = False) -> nn.Module:
        layers = (term.critic_layer(deterministic) for term in self.terms)
        return Critic(self.critic, self._condition, self.critic_head, tuple(layer for layer in layers if layer))

    def init(self, key: Key, batch: Batch) -> Variables:
        """Raises:
        ValueError: data of another shape or type; a term that does not fit the data or the networks.
        """
        z_key, generator_key, critic_key, terms_key = jax.random.split(key, 4)
        real = self._scaled(batch["x"])
        z, context = self.noise(z_key, real.shape[0]), broadcast_context(batch.get("context"), real)
        variables = {
            "critic": self._critic().init(critic_key, (pack(real, self.packing), pack(context, self.packing))),
            "generator": self._generator.init(generator_key, (z, context)),
        }
        for i, term in enumerate(self.terms):
            variables = term.init(self, variables, batch, jax.random.fold_in(terms_key, i))
        return variables

    def plays(self) -> dict[str, Play]:
        when, play = None if self.critic_steps == 1 else Every(self.critic_steps), self._play
        return {"critic": play("critic", self.critic_loss), "generator": play("generator", self.generator_loss, when)}

    def _play(self, name: str, loss: Callable[..., LossOutput], when: Every | None = None) -> Play:
        players = (name, *(player for term in self.terms for player in term.players(name)))
        means = all(name in part.accumulates for part in (self.adversarial_loss, *self.terms))
        apart = self.packing == 1 and not examples_interact(self)
        return Play(players, loss, self._optimizer(name), when, accumulates=means and apart)

    def critic_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metrics: the mean scores `real` and `fake`, those of the terms, and `distance_ratio`, the mean distance of
        the first samples over that of the first examples, as the critic sees them: it falls if the generator collapses.

        Raises:
            ValueError: a batch that `packing` does not divide.
        """
        if (n := jnp.shape(batch["x"])[0]) % self.packing:
            raise ValueError(f"`batch_size` must be a multiple of packing={self.packing}, got {n}")
        z_key, make_key, real_key, fake_key, on_real_key, on_fake_key, score_key, terms_key = jax.random.split(key, 8)
        critic, real = variables["critic"], self._scaled(batch["x"])
        z, context = self.noise(z_key, n), broadcast_context(batch.get("context"), real)
        fake = lax.stop_gradient(self._generate(variables["generator"], z, context, make_key)[0])
        real, fake = self._seen(variables, real, real_key, clock), self._seen(variables, fake, fake_key, clock)
        packed = pack(context, self.packing)
        on_real, statistics = self._criticize(critic, real, packed, on_real_key)
        on_fake, statistics = self._criticize({**critic, **statistics}, fake, packed, on_fake_key)

        def criticize(x: Array, context: Array | None = packed) -> CriticOutput:
            return self._criticize(critic, x, context, score_key)[0]

        metrics = {"real": on_real.score.mean(), "fake": on_fake.score.mean()}
        if n > 1:
            metrics["distance_ratio"] = distance_ratio(real[:COMPARED], fake[:COMPARED])
        value = self.adversarial_loss.critic(on_real.score, on_fake.score)
        computed = ForwardPass(variables, z, context, fake, on_fake, real, on_real, criticize, clock=clock)
        terms = (term.critic_loss(each) for term, each in self._for_terms(computed, terms_key))
        return add_terms(LossOutput(value, metrics, {"critic": statistics}), terms)

    def generator_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metrics: the mean `score` of the samples, and those of the terms."""
        z_key, generator_key, critic_key, seen_key, terms_key = jax.random.split(key, 5)
        generator, z = variables["generator"], self.noise(z_key, jnp.shape(batch["x"])[0])
        context = broadcast_context(batch.get("context"), z)
        fake, statistics = self._generate(generator, z, context, generator_key)
        seen, packed = self._seen(variables, fake, seen_key, clock), pack(context, self.packing)

        def criticize(x: Array, context: Array | None = packed) -> CriticOutput:
            return self._criticize(variables["critic"], x, context, critic_key, deterministic=True)[0]

        def generate(params: Any) -> Array:
            return self._generate({**generator, "params": params}, z, context, generator_key)[0]

        on_fake = criticize(seen)
        value, metrics = self.adversarial_loss.generator(on_fake.score), {"score": on_fake.score.mean()}
        computed = ForwardPass(variables, z, context, fake, on_fake, None, None, criticize, generate, clock=clock)
        terms = (term.generator_loss(each) for term, each in self._for_terms(computed, terms_key))
        return add_terms(LossOutput(value, metrics, {"generator": statistics}), terms)

    def noise(self, key: Key, n: int) -> Array:
        """Samples of z, [n, latent_dim + codes]."""
        prior, coded = (
            self.prior or StandardNormal((self.latent_dim,)),
            [term for term in self.terms if term.extra_latents],
        )
        if not coded:
            return sharded(prior.sample(key, n))
        noise_key, code_key = jax.random.split(key)
        return sharded(jnp.concatenate([prior.sample(noise_key, n), coded[0].codes(code_key, n)], -1))

    def sample(self, variables: Variables, key: Key, n: int, context: Array | None = None) -> Array:
        """Samples G(z) in data units."""
        return self._draw(variables, self.noise(key, n), context, key)

    def decode(self, variables: Variables, z: Array, context: Array | None = None) -> Array:
        """G(z) of given latents, in data units; of symbols the most probable ones."""
        z = as_batch("z", z)
        if self.relaxation is not None:
            return self._draw(variables, z, context)
        return to_data(self._generate(variables["generator"], z, context)[0], self.levels, -1.0, 1.0)

    def critic_output(self, variables: Variables, x: Array, context: Array | None = None) -> CriticOutput:
        """The critic's score and features of examples in data units, [B / packing, ...] each."""
        x, m = self._scaled(x), self.packing
        return self._criticize(variables["critic"], pack(x, m), pack(broadcast_context(context, x), m))[0]

    def score(self, variables: Variables, x: Array, context: Array | None = None) -> Array:
        """The critic's score of examples in data units, [B / packing]."""
        return self.critic_output(variables, x, context).score

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """`score_gap`, E D(x) - E D(G(z)), which for a Wasserstein critic estimates the distance; `metrics` of as many
        samples as examples; the metrics of the terms.
        """
        context, z = batch.get("context"), self.noise(key, jnp.shape(batch["x"])[0])
        fake = self._draw(variables, z, context, key)
        on_real, on_fake = (self.critic_output(variables, x, context) for x in (batch["x"], fake))
        metrics = {"score_gap": on_real.score.mean() - on_fake.score.mean(), **self.metrics(batch["x"], fake)}
        computed = ForwardPass(variables, z, context, fake, on_fake, batch["x"], on_real)
        for term in self.terms:
            metrics |= term.evaluate(computed)
        return metrics

    def _draw(self, variables: Variables, z: Array, context: Array | None, key: Key | None = None) -> Array:
        """`decode`, except that a noisy relaxation samples symbols with the key."""
        if self.relaxation is None:
            return self.decode(variables, z, context)
        y, _ = forward(self._generator, variables["generator"], (z, context), train=False, key=key)
        return y.argmax(-1).astype(jnp.uint8 if self.levels <= 256 else jnp.int32)

    def _for_terms(self, computed: ForwardPass, key: Key) -> list[tuple[Term, ForwardPass]]:
        """Each term with a key of its own."""
        return [(term, computed._replace(key=jax.random.fold_in(key, i))) for i, term in enumerate(self.terms)]

    def _scaled(self, x: Array) -> Array:
        scaled = from_data(x, self.event_shape, self.levels, -1.0, 1.0)
        return scaled if self.relaxation is None else jax.nn.one_hot(x, self.levels)

    def _seen(self, variables: Variables, x: Array, key: Key, clock: Clock) -> Array:
        """Examples as the critic sees them in training: transformed, by terms too, and packed."""
        for i, transform in enumerate(self.transforms):
            x = transform(x, jax.random.fold_in(key, i), clock.phase_step)
        for i, term in enumerate(self.terms, start=len(self.transforms)):
            x = term.transform(variables, x, jax.random.fold_in(key, i))
        return pack(x, self.packing)

    def _generate(
        self, generator: Collections, z: Array, context: Array | None, key: Key | None = None
    ) -> tuple[Array, Mapping[str, Any]]:
        """G(z) on the networks' scale, and the statistics that a training pass (with a key) updates."""
        return forward(self._generator, generator, (z, context), key=key)

    def _criticize(
        self, critic: Collections, x: Array, context: Array | None, key: Key | None = None, deterministic: bool = False
    ) -> tuple[CriticOutput, Mapping[str, Any]]:
        """The critic's output, and the statistics that a training pass (with a key) updates."""
        return forward(self._critic(deterministic), critic, (x, context), key=key)
