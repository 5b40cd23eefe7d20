"""Boundary-seeking GAN for discrete data (Hjelm et al. 2018, "Boundary-Seeking Generative Adversarial Networks").

A generator maps noise z to a distribution g(x|z) of independent discrete coordinates, from which x cannot be
reparameterized. For each z it draws M samples x_m, and weighs them by the density ratios that the critic's logits a
estimate, normalised among the samples of the same z:

    critic:     -E log D(x) - E_z mean_m log(1 - D(x_m)),  D the sigmoid of a
    generator:  -E_z sum_m w_m log g(x_m|z),  w = softmax_m a(x_m)

No gradient flows through samples and weights. `dataclasses.replace(model, objective=Reinforce())` rewards samples by
the critic instead, `EqualWeights()` is the control without a signal.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax import lax

from jaxgen.arguments import as_batch, as_events, check_counts, check_shape, freeze_fields
from jaxgen.contracts import Array, Batch, Clock, Collections, Key, LossOutput, Play, Variables
from jaxgen.distributions.inverse_cdf import sample_categorical
from jaxgen.distributions.normal import StandardNormal
from jaxgen.distributions.standard import StandardDistribution
from jaxgen.losses.adversarial import non_saturating_discriminator
from jaxgen.losses.sequences import effective_sample_size
from jaxgen.metrics.distances import sample_distances
from jaxgen.models.forward import forward
from jaxgen.models.scaling import from_data
from jaxgen.models.sequences.sample_objectives import DensityRatioWeights, SampleObjective
from jaxgen.nets.heads import EventHead, Headed, ScalarHead
from jaxgen.nets.interaction import examples_interact
from jaxgen.precision import at_least_float32
from jaxgen.sharding import sharded

CHUNK = 64
"""Examples whose probabilities given all z are in memory at a time."""


@dataclasses.dataclass(frozen=True)
class BoundarySeekingGAN:
    """Players `critic` and `generator`, each trained by the play of its name, one after the other.

    Attributes:
        generator: any network from latents to features; the model adds the last layer: a logit per coordinate of binary
            data, otherwise one per level.
        critic: any network from scaled data to features; binary data are scaled to -1 and 1, others one-hot encoded,
            [B, *event_shape, levels].
        event_shape: shape of an example, without the batch.
        levels: the data are integers 0..levels-1.
        latent_dim: dimension of z.
        samples: M, samples of each z that the generator's loss compares.
        critic_samples: samples of each z in the critic's loss; None: M, as in the authors' code.
        prior: distribution of z; None: standard normal. With `Signs`, `log_prob` is exact.
        objective: the generator's loss.
        critic_head: from features to logits [B], or [B, T], one for each position on the event's first axis, which then
            weighs that position alone.
        metrics: `(real, fake) -> {name: scalar}` on samples, reported by `evaluate`.
        monitor: the metric of `evaluate` that chooses the best checkpoint, and its direction.
    """

    generator: nn.Module
    critic: nn.Module
    event_shape: tuple[int, ...]
    _: dataclasses.KW_ONLY
    levels: int = 2
    latent_dim: int = 64
    samples: int = 20
    critic_samples: int | None = None
    prior: StandardDistribution | None = None
    objective: SampleObjective = DensityRatioWeights()
    critic_head: nn.Module = ScalarHead()
    metrics: Callable[[Array, Array], Mapping[str, Array]] = sample_distances
    monitor: tuple[str, str] = ("sliced_wasserstein", "min")

    def __post_init__(self):
        freeze_fields(self)
        check_shape(self.event_shape)
        check_counts(2, levels=self.levels, samples=self.samples)
        check_counts(latent_dim=self.latent_dim, critic_samples=self.critic_samples or 1)

    @property
    def _generator(self) -> nn.Module:
        return Headed(self.generator, EventHead(self.event_shape, 1 if self.levels == 2 else self.levels))

    @property
    def _critic(self) -> nn.Module:
        return Headed(self.critic, self.critic_head)

    def init(self, key: Key, batch: Batch) -> Variables:
        """Raises:
        ValueError: data of another shape, or that are not integers 0..levels-1.
        """
        z_key, generator_key, critic_key = jax.random.split(key, 3)
        x = self._encoded(from_data(batch["x"], self.event_shape, self.levels, 0, self.levels - 1))
        return {
            "critic": self._critic.init(critic_key, x),
            "generator": self._generator.init(generator_key, self.noise(z_key, len(x))),
        }

    def plays(self) -> Mapping[str, Play]:
        """Adam with 1e-4 and b1 0.5, as in the authors' code."""
        adam, apart = optax.adam(1e-4, b1=0.5), not examples_interact(self)
        losses = {"critic": self.critic_loss, "generator": self.generator_loss}
        return {name: Play((name,), loss, adam, accumulates=apart) for name, loss in losses.items()}

    def critic_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metrics: the mean logits `real` and `fake`."""
        z_key, generator_key, sample_key, real_key, fake_key = jax.random.split(key, 5)
        critic, z = variables["critic"], self.noise(z_key, len(batch["x"]))
        params, _ = forward(self._generator, variables["generator"], z, key=generator_key)
        fake = _merge(self._samples(params, sample_key, self.critic_samples or self.samples))
        real = from_data(batch["x"], self.event_shape, self.levels, 0, self.levels - 1)
        on_real, statistics = forward(self._critic, critic, self._encoded(real), key=real_key)
        on_fake, statistics = forward(self._critic, {**critic, **statistics}, self._encoded(fake), key=fake_key)
        metrics = {"real": on_real.mean(), "fake": on_fake.mean()}
        return LossOutput(non_saturating_discriminator(on_real, on_fake), metrics, {"critic": statistics})

    def generator_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metrics: the mean `score`, the logit of the samples; `effective_samples`, the `effective_sample_size` of the
        paper's weights, from 1 to M; `entropy`, an estimate of that of g(x|z) in nats.
        """
        z_key, generator_key, sample_key = jax.random.split(key, 3)
        z = self.noise(z_key, len(batch["x"]))
        params, statistics = forward(self._generator, variables["generator"], z, key=generator_key)
        x = self._samples(params, sample_key, self.samples)
        logits, _ = forward(self._critic, variables["critic"], self._encoded(_merge(x)))
        logits = lax.stop_gradient(logits).reshape(*x.shape[:2], *logits.shape[1:])
        log_probs = self._log_probs(params, x)
        log_probs = log_probs.sum(tuple(range(logits.ndim, log_probs.ndim)))
        metrics = {
            "score": logits.mean(),
            "effective_samples": effective_sample_size(logits).mean(),
            "entropy": -log_probs.mean((0, 1)).sum(),
        }
        return LossOutput(self.objective(log_probs, logits), metrics, {"generator": statistics})

    def noise(self, key: Key, n: int) -> Array:
        """Samples of z, [n, latent_dim]."""
        return sharded((self.prior or StandardNormal((self.latent_dim,))).sample(key, n))

    def sample(self, variables: Variables, key: Key, n: int, context: None = None) -> Array:
        """Samples x ~ g(x|z), integers [n, *event_shape]; there is no context."""
        z_key, sample_key = jax.random.split(key)
        return self.decode(variables, self.noise(z_key, n), sample_key)

    def decode(self, variables: Variables, z: Array, key: Key | None = None) -> Array:
        """A sample of g(x|z) of given latents, or without a key its most probable value."""
        params = self._params(variables["generator"], as_batch("z", z))
        if key is None:
            x = (params[..., 0] > 0) if self.levels == 2 else params.argmax(-1)
        else:
            x = self._samples(params, key, 1)[0]
        return x.astype(jnp.uint8 if self.levels <= 256 else jnp.int32)

    def conditional_log_prob(self, variables: Variables, x: Array, z: Array) -> Array:
        """log g(x|z) in nats, [B], of examples x [B, *event_shape] and latents z [B, latent_dim]."""
        x = as_events("x", x, self.event_shape)
        return _sum_event(self._log_probs(self._params(variables["generator"], z), x[None])[0])

    def log_prob(self, variables: Variables, x: Array) -> Array:
        """log E_z g(x|z) in nats, exactly: [B, *event_shape] to [B].

        Raises:
            ValueError: a prior whose values cannot be enumerated.
        """
        if not hasattr(self.prior, "support"):
            raise ValueError(f"`prior` must have a finite support, such as Signs, for `log_prob`, got {self.prior}")
        x = as_events("x", x, self.event_shape)
        params = self._params(variables["generator"], self.prior.support())

        def of_example(x: Array) -> Array:
            return jax.nn.logsumexp(_sum_event(self._log_probs(params, x[None, None])[0])) - jnp.log(len(params))

        return lax.map(of_example, x, batch_size=CHUNK)

    def score(self, variables: Variables, x: Array) -> Array:
        """The critic's logit of examples, [B], or [B, T] with one for each position."""
        x = from_data(x, self.event_shape, self.levels, 0, self.levels - 1)
        return forward(self._critic, variables["critic"], self._encoded(x))[0]

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """`score_gap`, the difference of the mean logits of data and samples, and `metrics` of as many samples as
        examples.
        """
        fake = self.sample(variables, key, len(batch["x"]))
        gap = self.score(variables, batch["x"]).mean() - self.score(variables, fake).mean()
        return {"score_gap": gap, **self.metrics(batch["x"], fake)}

    def _params(self, generator: Collections, z: Array) -> Array:
        """The parameters of g(x|z), [B, *event_shape, 1 or levels]."""
        return forward(self._generator, generator, z)[0]

    def _samples(self, params: Array, key: Key, m: int) -> Array:
        """m samples of each z, integers [m, B, *event_shape]."""
        params = lax.stop_gradient(at_least_float32(params))
        if self.levels == 2:
            probabilities = jax.nn.sigmoid(params[..., 0])
            return jax.random.bernoulli(key, probabilities, (m, *probabilities.shape)).astype(jnp.int32)
        return sample_categorical(key, jnp.broadcast_to(params, (m, *params.shape)))

    def _log_probs(self, params: Array, x: Array) -> Array:
        """log g of each coordinate, [M, B, *event_shape], of x [M, B, *event_shape] whose axes may have length one."""
        params = at_least_float32(params)
        if self.levels == 2:
            return x * params[..., 0] - jax.nn.softplus(params[..., 0])
        log_p = jnp.broadcast_to(jax.nn.log_softmax(params), (*x.shape[:1], *params.shape))
        x = jnp.broadcast_to(x, log_p.shape[:-1]).astype(jnp.int32)
        return jnp.take_along_axis(log_p, x[..., None], -1)[..., 0]

    def _encoded(self, x: Array) -> Array:
        """Integers as the critic sees them."""
        return 2.0 * x - 1 if self.levels == 2 else jax.nn.one_hot(x.astype(jnp.int32), self.levels)


def _merge(x: Array) -> Array:
    """[M, B, ...] to [M B, ...]."""
    return x.reshape(-1, *x.shape[2:])


def _sum_event(a: Array) -> Array:
    return a.sum(tuple(range(1, a.ndim)))
