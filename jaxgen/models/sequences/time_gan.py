"""TimeGAN (Yoon et al. 2019, "Time-series Generative Adversarial Networks"), as in the authors' code.

A GAN in the space of an autoencoder's latent series h = E(x), x' = R(h), whose generator's series e = G(z) pass through
a supervisor S that learns to predict the next latent of data. All are recurrent networks, and so is the critic, which
rates each step: a_t(h_1, ..., h_t) is a logit. With MSE over all elements, h' = S(e), x'' = R(h'), and the mean and the
standard deviation over the batch at each step:

    autoencoder:  10 sqrt(MSE(x, R(h)))                                                               E and R
    supervisor:   L_S = MSE(h_2:T, S(h)_1:T-1)                                                        S
    joint         generator:  E softplus(-a(h')) + gamma E softplus(-a(e)) + 100 sqrt(L_S)
                              + 100 (E |std x'' - std x| + E |mean x'' - mean x|)                     G and S
                  embedder:   10 sqrt(MSE(x, R(h))) + 0.1 L_S                                         E and R
                  critic:     E softplus(-a(h)) + E softplus(a(h')) + gamma E softplus(a(e))          D

in three phases. In the third, generator and embedder move at each step, the critic at every second one, and only if its
loss is above 0.15. z_t is uniform on [0, 1]^d and independent at each step.

The paper is another: its generator is recurrent in its own latents, h'_t = g(h'_(t-1), z_t), and L_S compares h_t with
g(h_(t-1), z_t), so that supervision trains the generator: `supervisor=None` with a `ClosedLoopRNN`
(`time_gan(closed_loop=True)`). In the code L_S never reaches G: its second phase lists the generator's variables, but
their gradient is zero, so the play here moves S alone. The published figures are the code's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax import lax

from jaxgen.arguments import as_batch, check_counts, check_number, check_shape, freeze_fields
from jaxgen.contracts import Array, Batch, Clock, Every, Key, LossOutput, Phase, Play, Variables
from jaxgen.losses.adversarial import non_saturating_generator
from jaxgen.losses.auxiliary import moment_matching
from jaxgen.metrics.distances import sample_distances
from jaxgen.models.forward import forward
from jaxgen.models.hybrids.gate import gated, waiting
from jaxgen.models.scaling import from_data
from jaxgen.sharding import sharded


@dataclasses.dataclass(frozen=True)
class TimeGAN:
    """Players `embedder`, `recovery`, `generator`, `supervisor` and `critic`. The phases have a quarter, a quarter and
    half of the steps: with n steps in the first, the third has n moves of the critic and 2 n of the generator.

    Networks are complete, no layer is added. Data are float series on [0, 1], and so are samples. Methods ignore a
    context.

    Attributes:
        embedder: from series [B, T, D] to latent series [B, T, H].
        recovery: back.
        generator: from noise [B, T, latent_dim] to latent series; without a supervisor a network that takes given
            latents too, such as `ClosedLoopRNN`.
        supervisor: causal, from latent series to the latents of the next step; None: the paper's game.
        critic: from latent series to a logit per step, [B, T, 1].
        event_shape: (T, D).
        latent_dim: dimension of z_t.
        gamma: weight of the critic's view of e, the latents before the supervisor.
        reconstruction_weight, supervised_weight, moments_weight: 10, 100 and 100 above.
        embedder_supervised_weight: of L_S in the embedder's loss, 0.1 above.
        critic_threshold: the critic's loss below which it does not move.
        metrics: `(real, fake) -> {name: scalar}` on samples in data units, reported by `evaluate`.
        monitor: the metric of `evaluate` that chooses the best checkpoint of the last phase, and its direction.

    Raises:
        ValueError: a negative weight.
    """

    embedder: nn.Module
    recovery: nn.Module
    generator: nn.Module
    supervisor: nn.Module | None
    critic: nn.Module
    event_shape: tuple[int, int]
    _: dataclasses.KW_ONLY
    latent_dim: int
    gamma: float = 1.0
    reconstruction_weight: float = 10.0
    supervised_weight: float = 100.0
    moments_weight: float = 100.0
    embedder_supervised_weight: float = 0.1
    critic_threshold: float = 0.15
    metrics: Callable[[Array, Array], Mapping[str, Array]] = sample_distances
    monitor: tuple[str, str] = ("sliced_wasserstein", "min")

    def __post_init__(self):
        freeze_fields(self)
        check_shape(self.event_shape)
        check_counts(latent_dim=self.latent_dim)
        for name in ("gamma", *(field.name for field in dataclasses.fields(self) if field.name.endswith("_weight"))):
            check_number(name, getattr(self, name), 0)

    def init(self, key: Key, batch: Batch) -> Variables:
        keys, x = jax.random.split(key, 5), self._series(batch["x"])
        z = self.noise(keys[0], x.shape[0])
        variables = {"embedder": self.embedder.init(keys[0], x)}
        h = forward(self.embedder, variables["embedder"], x)[0]
        variables |= {
            "recovery": self.recovery.init(keys[1], h),
            "generator": self.generator.init(keys[2], z),
            "critic": self.critic.init(keys[3], h),
        }
        if self.supervisor is not None:
            variables["supervisor"] = self.supervisor.init(keys[4], h)
        return variables

    def plays(self) -> Mapping[str, Play]:
        """The joint game of the third phase."""
        generating = ("generator",) if self.supervisor is None else ("generator", "supervisor")
        return {
            "generator": Play(generating, self.generator_loss, optax.adam(1e-3)),
            "embedder": Play(("embedder", "recovery"), self.embedder_loss, optax.adam(1e-3)),
            "critic": Play(("critic",), self.critic_loss, waiting(optax.adam(1e-3)), Every(2)),
        }

    def phases(self, steps: int) -> tuple[Phase, ...]:
        """Raises:
        ValueError: fewer than four steps.
        """
        check_counts(4, steps=steps)
        autoencoder = Play(("embedder", "recovery"), self.autoencoder_loss, optax.adam(1e-3))
        supervised = "generator" if self.supervisor is None else "supervisor"
        supervisor = Play((supervised,), self.supervisor_loss, optax.adam(1e-3))
        first = steps // 4
        return (
            Phase({"autoencoder": autoencoder}, first, monitor=("reconstruction_error", "min")),
            Phase({"supervisor": supervisor}, first, monitor=("supervised_error", "min")),
            Phase(self.plays(), steps - 2 * first),
        )

    def autoencoder_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metrics: `reconstruction_error`, the root of the MSE."""
        x = self._series(batch["x"])
        error = _root_mean_square(x - self._apply("recovery", variables, self._apply("embedder", variables, x)))
        return LossOutput(self.reconstruction_weight * error, {"reconstruction_error": error})

    def supervisor_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metrics: `supervised_error`, the root of the MSE."""
        h = self._apply("embedder", variables, self._series(batch["x"]))
        error = self._supervised(variables, h, key)
        return LossOutput(error, {"supervised_error": jnp.sqrt(error)})

    def generator_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metrics: the terms `adversarial`, `supervised_error` and `moments`, without their weights."""
        x, (z_key, supervised_key) = self._series(batch["x"]), jax.random.split(key)
        h = self._apply("embedder", variables, x)
        e = self._apply("generator", variables, self.noise(z_key, x.shape[0]))
        if self.supervisor is None:
            generated, error = e, self._supervised(variables, h, supervised_key)
        else:
            predicted, generated = jnp.split(self._apply("supervisor", variables, jnp.concatenate([h, e])), 2)
            error = ((h[:, 1:] - predicted[:, :-1]) ** 2).mean()
        adversarial = self._weighted(non_saturating_generator, self._rate(variables, *self._seen(generated, e)))
        moments = moment_matching(x, self._apply("recovery", variables, generated))
        error = jnp.sqrt(error + 1e-12)
        value = adversarial + self.supervised_weight * error + self.moments_weight * moments
        return LossOutput(value, {"adversarial": adversarial, "supervised_error": error, "moments": moments})

    def embedder_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metrics: `reconstruction_error` and `supervised_error`, the roots of the MSEs."""
        x = self._series(batch["x"])
        h = self._apply("embedder", variables, x)
        error = _root_mean_square(x - self._apply("recovery", variables, h))
        supervised = self._supervised(variables, h, key)
        value = self.reconstruction_weight * error + self.embedder_supervised_weight * supervised
        return LossOutput(value, {"reconstruction_error": error, "supervised_error": jnp.sqrt(supervised)})

    def critic_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metrics: the mean logits `real` and `fake`, and whether the critic `moves`."""
        x = self._series(batch["x"])
        h = self._apply("embedder", variables, x)
        e = self._apply("generator", variables, self.noise(key, x.shape[0]))
        generated = e if self.supervisor is None else self._apply("supervisor", variables, e)
        on_real, *on_fakes = self._rate(variables, *map(lax.stop_gradient, (h, *self._seen(generated, e))))
        value = non_saturating_generator(on_real) + self._weighted(lambda a: jax.nn.softplus(a).mean(), on_fakes)
        moves = value > self.critic_threshold
        metrics = {"real": on_real.mean(), "fake": on_fakes[0].mean(), "moves": moves.astype(jnp.float32)}
        return LossOutput(gated(value, moves), metrics)

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """`reconstruction_error` and `supervised_error`, the roots of the MSEs of R(E(x)) and of predicted latents;
        `metrics` of as many samples as examples.
        """
        x, (sample_key, supervised_key) = self._series(batch["x"]), jax.random.split(key)
        h = self.encode(variables, x)
        return {
            "reconstruction_error": _root_mean_square(x - self.decode(variables, h)),
            "supervised_error": jnp.sqrt(self._supervised(variables, h, supervised_key)),
            **self.metrics(x, self.sample(variables, sample_key, x.shape[0])),
        }

    def noise(self, key: Key, n: int) -> Array:
        """z ~ U(0, 1), [n, T, latent_dim]."""
        return sharded(jax.random.uniform(key, (n, self.event_shape[0], self.latent_dim)))

    def sample(self, variables: Variables, key: Key, n: int, context: Array | None = None) -> Array:
        """R(S(G(z))), series [n, T, D]."""
        h = self._apply("generator", variables, self.noise(key, n))
        return self.decode(variables, h if self.supervisor is None else self._apply("supervisor", variables, h))

    def encode(self, variables: Variables, x: Array, key: Key | None = None, context: Array | None = None) -> Array:
        """h = E(x), [B, T, H]."""
        return self._apply("embedder", variables, self._series(x))

    def decode(self, variables: Variables, h: Array, context: Array | None = None) -> Array:
        """R(h), [B, T, D]."""
        return self._apply("recovery", variables, as_batch("h", h))

    def reconstruct(
        self, variables: Variables, x: Array, key: Key | None = None, context: Array | None = None
    ) -> Array:
        """R(E(x)), [B, T, D]."""
        return self.decode(variables, self.encode(variables, x))

    def _supervised(self, variables: Variables, h: Array, key: Key) -> Array:
        """L_S: the MSE of each latent, predicted from those before it."""
        if self.supervisor is None:
            z = self.noise(key, h.shape[0])
            predicted = forward(self.generator, variables["generator"], z, h)[0][:, 1:]
        else:
            predicted = self._apply("supervisor", variables, h)[:, :-1]
        return ((h[:, 1:] - predicted) ** 2).mean()

    def _seen(self, generated: Array, e: Array) -> tuple[Array, ...]:
        """The generated latents that the critic rates: without a supervisor both are the same."""
        return (generated,) if self.supervisor is None else (generated, e)

    def _rate(self, variables: Variables, *latents: Array) -> list[Array]:
        """The critic's logits of several batches of latents, in one pass."""
        return jnp.split(self._apply("critic", variables, jnp.concatenate(latents)), len(latents))

    def _weighted(self, loss: Callable[[Array], Array], logits: list[Array]) -> Array:
        return sum(weight * loss(each) for weight, each in zip((1.0, self.gamma), logits, strict=False))

    def _apply(self, player: str, variables: Variables, x: Array) -> Array:
        return forward(getattr(self, player), variables[player], x)[0]

    def _series(self, x: Array) -> Array:
        return from_data(x, self.event_shape, None)


def _root_mean_square(x: Array) -> Array:
    return jnp.sqrt((x**2).mean() + 1e-12)  # with a finite gradient at zero
