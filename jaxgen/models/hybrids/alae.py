"""The adversarial latent autoencoder (Pidhorskyi et al. 2020, "Adversarial Latent Autoencoders", algorithm 1).

A GAN with the generator G(F(z)), z ~ N(0, I), and the critic D(E(x)), whose encoder E maps images to the space of the
latents w = F(z) and inverts G there. With logits D:

    critic:        E softplus(D(E(G(F(z))))) + E softplus(-D(E(x))) + gamma/2 E |grad_x D(E(x))|^2      E and D
    generator:     E softplus(-D(E(G(F(z)))))                                                            F and G
    reciprocity:   E |F(z) - E(G(F(z)))|^2                                                               E and G

three moves a step, in this order. No loss compares images, and the distribution of w is learned: F is trained to make
it what E makes of data. In the authors' code the third play moves F too (`AUTHORS`), by the gradient through G alone:
the target F(z) has none, which would let F shrink its latents. There the players' optimizers also share their moments
between plays; here each play has its own, so that the reciprocity's updates have their own scale.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax import lax

from jaxgen.arguments import as_batch, check_counts, check_number, check_shape, freeze_fields
from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Play, Variables
from jaxgen.losses.adversarial import non_saturating_discriminator, non_saturating_generator
from jaxgen.losses.penalties import zero_centred_penalty
from jaxgen.losses.squared_distance import squared_distance
from jaxgen.metrics.distances import sample_distances
from jaxgen.models.forward import forward, without_statistics
from jaxgen.models.scaling import from_data, to_data
from jaxgen.nets.interaction import examples_interact
from jaxgen.sharding import sharded

AUTHORS = {"reciprocal": ("encoder", "generator", "mapping")}
"""The fields of the authors' code: `dataclasses.replace(model, **AUTHORS)`."""


@dataclasses.dataclass(frozen=True)
class ALAE:
    """Players `mapping` (F), `generator` (G), `encoder` (E) and `critic` (D); plays `critic`, `generator` and
    `reciprocity`, each step in this order.

    Networks are complete: no layer is added. Data are scaled to [-1, 1] for them if they are integers.

    Attributes:
        mapping: any network from z to w, [B, W].
        generator: any network from w to events, [B, *event_shape] or flattened.
        encoder: any network from events to w, [B, W].
        critic: any network from w to [B, ...], whose first output is the logit.
        event_shape: shape of an example, without the batch.
        latent_dim: dimension of z.
        levels: the data are integers 0..levels-1; None: they are floats.
        penalty: gamma, for data on [-1, 1].
        reciprocal: the players of the third play.
        metrics: `(real, fake) -> {name: scalar}` on samples in data units, reported by `evaluate`.
        monitor: the metric of `evaluate` that chooses the best checkpoint, and its direction.

    Raises:
        ValueError: a negative penalty; no or unknown players in `reciprocal`.
    """

    mapping: nn.Module
    generator: nn.Module
    encoder: nn.Module
    critic: nn.Module
    event_shape: tuple[int, ...]
    _: dataclasses.KW_ONLY
    latent_dim: int = 50
    levels: int | None = None
    penalty: float = 10.0
    reciprocal: tuple[str, ...] = ("encoder", "generator")
    metrics: Callable[[Array, Array], Mapping[str, Array]] = sample_distances
    monitor: tuple[str, str] = ("sliced_wasserstein", "min")

    def __post_init__(self):
        freeze_fields(self)
        check_shape(self.event_shape)
        check_counts(latent_dim=self.latent_dim)
        check_number("penalty", self.penalty, 0)
        if not self.reciprocal or not set(self.reciprocal) <= {"encoder", "generator", "mapping"}:
            raise ValueError(f"`reciprocal` must be some of encoder, generator and mapping, got {self.reciprocal}")

    def init(self, key: Key, batch: Batch) -> Variables:
        """Raises:
        ValueError: data of another shape or type; networks that do not fit together; an encoder or a critic with batch
            statistics, under which the penalty is not that of single examples.
        """
        z_key, *keys = jax.random.split(key, 5)
        real, z = self._scaled(batch["x"]), self.noise(z_key, 2)
        variables = {"mapping": self.mapping.init(keys[0], z), "encoder": self.encoder.init(keys[1], real)}
        shapes = [
            jax.eval_shape(lambda x, name=name: self._apply(name, variables, x)[0], x).shape[1:]
            for name, x in (("mapping", z), ("encoder", real))
        ]
        if shapes[0] != shapes[1] or len(shapes[0]) != 1:
            raise ValueError(f"`mapping` and `encoder` must map to [B, W] alike, got {shapes[0]} and {shapes[1]}")
        w = self._apply("mapping", variables, z)[0]
        variables |= {"generator": self.generator.init(keys[2], w), "critic": self.critic.init(keys[3], w)}
        found = jax.eval_shape(lambda w: self._apply("generator", variables, w)[0], w).shape
        if math.prod(found[1:]) != math.prod(self.event_shape):
            raise ValueError(f"`generator` must map to events of shape {self.event_shape}, got {found[1:]}")
        for name in ("encoder", "critic"):
            without_statistics(name, variables[name])
        return variables

    def plays(self) -> Mapping[str, Play]:
        def play(players: tuple[str, ...], loss: Callable[..., LossOutput]) -> Play:
            return Play(players, loss, optax.adam(2e-3, b1=0.0, b2=0.99), accumulates=not examples_interact(self))

        return {
            "critic": play(("encoder", "critic"), self.critic_loss),
            "generator": play(("mapping", "generator"), self.generator_loss),
            "reciprocity": play(self.reciprocal, self.reciprocity_loss),
        }

    def critic_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metrics: the mean logits `real` and `fake`, and the `penalty`."""
        z_key, generate_key, critic_key = jax.random.split(key, 3)
        real = self._scaled(batch["x"])
        fake = lax.stop_gradient(self._generate(variables, self.noise(z_key, real.shape[0]), generate_key)[1])

        def score(x: Array) -> Array:
            return self._score(variables, x, critic_key)

        on_real, on_fake = score(real), score(fake)
        penalty = zero_centred_penalty(score, real, self.penalty)
        metrics = {"real": on_real.mean(), "fake": on_fake.mean(), "penalty": penalty}
        return LossOutput(non_saturating_discriminator(on_real, on_fake) + penalty, metrics)

    def generator_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        z_key, generate_key, critic_key = jax.random.split(key, 3)
        _, fake, statistics = self._generate(variables, self.noise(z_key, jnp.shape(batch["x"])[0]), generate_key)
        return LossOutput(non_saturating_generator(self._score(variables, fake, critic_key)), {}, statistics)

    def reciprocity_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metrics: `relative`, the loss over the variance of the latents, which does not depend on their scale."""
        z_key, generate_key, encoder_key = jax.random.split(key, 3)
        w, fake, _ = self._generate(variables, self.noise(z_key, jnp.shape(batch["x"])[0]), generate_key)
        target = lax.stop_gradient(w)
        value = squared_distance(target, self._apply("encoder", variables, fake, encoder_key)[0])
        return LossOutput(value, {"relative": value / _variance(target)})

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """`latent_error`, E |w - E(G(w))|^2 over the variance of w = F(z); `squared_error` of G(E(x)), summed over the
        event, of data on [0, 1] if they are integers; `metrics` of as many samples as examples.
        """
        real = self._scaled(batch["x"])
        w, fake, _ = self._generate(variables, self.noise(key, real.shape[0]))
        latent_error = squared_distance(w, self._apply("encoder", variables, fake)[0]) / _variance(w)
        scale = 1.0 if self.levels is None else 0.25  # from [-1, 1]
        error = scale * squared_distance(real, self.generate(variables, self.encode(variables, batch["x"])))
        samples = to_data(fake, self.levels, -1.0, 1.0)
        return {"latent_error": latent_error, "squared_error": error, **self.metrics(batch["x"], samples)}

    def noise(self, key: Key, n: int) -> Array:
        """z ~ N(0, I), [n, latent_dim]."""
        return sharded(jax.random.normal(key, (n, self.latent_dim)))

    def latents(self, variables: Variables, z: Array) -> Array:
        """w = F(z), [B, W]."""
        return self._apply("mapping", variables, as_batch("z", z))[0]

    def generate(self, variables: Variables, w: Array) -> Array:
        """G(w) on the networks' scale, not rounded: [B, *event_shape]."""
        return self._events(self._apply("generator", variables, as_batch("w", w))[0])

    def sample(self, variables: Variables, key: Key, n: int, context: Array | None = None) -> Array:
        """G(F(z)) in data units; ignores the context."""
        return self.decode(variables, self.latents(variables, self.noise(key, n)))

    def encode(self, variables: Variables, x: Array, key: Key | None = None, context: Array | None = None) -> Array:
        """w = E(x), [B, W]; ignores key and context."""
        return self._apply("encoder", variables, self._scaled(x))[0]

    def decode(self, variables: Variables, w: Array, context: Array | None = None) -> Array:
        """G(w) in data units; ignores the context."""
        return to_data(self.generate(variables, w), self.levels, -1.0, 1.0)

    def reconstruct(
        self, variables: Variables, x: Array, key: Key | None = None, context: Array | None = None
    ) -> Array:
        """G(E(x)) in data units; ignores key and context."""
        return self.decode(variables, self.encode(variables, x))

    def _generate(
        self, variables: Variables, z: Array, key: Key | None = None
    ) -> tuple[Array, Array, Mapping[str, Mapping[str, Any]]]:
        """w = F(z), G(w), and both players' updated statistics; with a key in training mode."""
        keys = (None, None) if key is None else jax.random.split(key)
        w, of_mapping = self._apply("mapping", variables, z, keys[0])
        x, of_generator = self._apply("generator", variables, w, keys[1])
        return w, self._events(x), {"mapping": of_mapping, "generator": of_generator}

    def _score(self, variables: Variables, x: Array, key: Key | None = None) -> Array:
        """The logits D(E(x)), [B]."""
        keys = (None, None) if key is None else jax.random.split(key)
        w, _ = self._apply("encoder", variables, x, keys[0])
        return self._apply("critic", variables, w, keys[1])[0].reshape(x.shape[0], -1)[:, 0]

    def _apply(
        self, player: str, variables: Variables, x: Array, key: Key | None = None
    ) -> tuple[Array, Mapping[str, Any]]:
        return forward(getattr(self, player), variables[player], x, key=key)

    def _events(self, x: Array) -> Array:
        return x.reshape(x.shape[0], *self.event_shape)

    def _scaled(self, x: Array) -> Array:
        return from_data(x, self.event_shape, self.levels, -1.0, 1.0)


def _variance(w: Array) -> Array:
    """Summed over dimensions; never zero."""
    return jnp.maximum(w.var(0).sum(), 1e-12)
