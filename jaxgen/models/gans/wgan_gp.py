"""Wasserstein GAN with gradient penalty (Gulrajani et al. 2017, "Improved Training of Wasserstein GANs").

A critic f approaches the Wasserstein-1 distance between data x and samples G(z) from below, held to slopes of about one
at points x^ on the lines between them; the generator descends it:

    critic:     E f(G(z)) - E f(x) + lambda E (|grad f(x^)| - 1)^2,    x^ = e x + (1 - e) G(z),  e ~ U(0, 1)
    generator:  -E f(G(z))
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgen.contracts import Array, Batch, Key, LossOutput, Play, Step, Variables, every
from jaxgen.losses.adversarial import wasserstein_critic, wasserstein_generator
from jaxgen.losses.penalties import gradient_norm, interpolate, norm_penalty
from jaxgen.metrics.distances import sample_distances
from jaxgen.models.players import forward
from jaxgen.models.scaling import from_data, to_data
from jaxgen.nets.context import concatenate_context
from jaxgen.nets.critics import ResNetCritic
from jaxgen.nets.decoders import halvings
from jaxgen.nets.generators import ResNetGenerator
from jaxgen.nets.heads import EventHead, Headed, ScalarHead
from jaxgen.nets.mlp import MLP


@dataclasses.dataclass(frozen=True)
class WGANGP:
    """Players `critic` and `generator`, each moved by the play of its name.

    Attributes:
        generator: any network from latents (and context, concatenated) to features; the model adds the last layer, and
            for integer data a tanh.
        critic: any network from data (and context, concatenated) to features; the model adds the scalar output.
        event_shape: of the data, without the batch.
        latents: dimension of z, standard normal.
        levels: the data are integers 0..levels-1, in the game scaled to [-1, 1]; None, they are real.
        penalty_weight: lambda; the paper's 10 on images, 0.1 on points of the plane.
        critic_steps: moves of the critic, each on a batch of its own, for one of the generator.
        metrics: `(real, fake) -> {name: scalar}` on samples in data units, reported by `evaluate`.
        monitor: which figure of `evaluate` says what checkpoint is best, and its direction.
    """

    generator: nn.Module
    critic: nn.Module
    event_shape: tuple[int, ...]
    latents: int = 128
    levels: int | None = None
    penalty_weight: float = 10.0
    critic_steps: int = 5
    metrics: Callable[[Array, Array], Mapping[str, Array]] = sample_distances
    monitor: tuple[str, str] = ("sliced_wasserstein", "min")

    @property
    def _generator(self) -> nn.Module:
        return Headed(self.generator, EventHead(self.event_shape))

    @property
    def _critic(self) -> nn.Module:
        return Headed(self.critic, ScalarHead())

    def init(self, key: Key, batch: Batch) -> Variables:
        z_key, generator_key, critic_key = jax.random.split(key, 3)
        real, context = self._scaled(batch["x"]), batch.get("context")
        z = jax.random.normal(z_key, (len(real), self.latents))
        critic = self._critic.init(critic_key, concatenate_context(real, context))
        if "batch_stats" in critic:
            raise ValueError(
                "WGANGP's critic has batch statistics, which make its output on a row depend on the other rows, while "
                "the penalty holds the slope at each row alone: use layer normalisation or none"
            )
        return {"critic": critic, "generator": self._generator.init(generator_key, concatenate_context(z, context))}

    def plays(self) -> Mapping[str, Play]:
        def adam():
            return optax.adam(1e-4, b1=0.5, b2=0.9)

        return {
            "critic": Play(("critic",), self.critic_loss, adam()),
            "generator": Play(("generator",), self.generator_loss, adam(), every(self.critic_steps)),
        }

    def critic_loss(self, variables: Variables, batch: Batch, key: Key, step: Step) -> LossOutput:
        """Metrics: the critic's means, `slope`, its mean gradient norm between real and fake, and the `penalty`."""
        z_key, generator_key, line_key, critic_key = jax.random.split(key, 4)
        real, context = self._scaled(batch["x"]), batch.get("context")
        fake, _ = self._generate(variables, self._noise(z_key, len(real)), context, generator_key)
        fake = jax.lax.stop_gradient(fake)

        def critic(x: Array) -> Array:
            return self._criticise(variables, x, context, critic_key)

        on_real, on_fake = critic(real), critic(fake)
        slopes = gradient_norm(critic, interpolate(real, fake, line_key))
        penalty = norm_penalty(slopes, weight=self.penalty_weight)
        return LossOutput(
            wasserstein_critic(on_real, on_fake) + penalty,
            {"real": on_real.mean(), "fake": on_fake.mean(), "slope": slopes.mean(), "penalty": penalty},
        )

    def generator_loss(self, variables: Variables, batch: Batch, key: Key, step: Step) -> LossOutput:
        z_key, generator_key, critic_key = jax.random.split(key, 3)
        context = batch.get("context")
        fake, state = self._generate(variables, self._noise(z_key, len(batch["x"])), context, generator_key)
        value = wasserstein_generator(self._criticise(variables, fake, context, critic_key))
        return LossOutput(value, state={"generator": state})

    def sample(self, variables: Variables, key: Key, n: int, context: Array | None = None) -> Array:
        """G(z) in data units."""
        return self.decode(variables, self._noise(key, n), context)

    def decode(self, variables: Variables, z: Array, context: Array | None = None) -> Array:
        """G(z) of given latents, in data units."""
        return to_data(self._generate(variables, z, context)[0], self.levels, -1.0, 1.0)

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """`wasserstein`, the critic's own estimate E f(x) - E f(G(z)), and `metrics` of as many samples as rows."""
        context = batch.get("context")
        fake = self.sample(variables, key, len(batch["x"]), context)
        on_real = self._criticise(variables, self._scaled(batch["x"]), context)
        on_fake = self._criticise(variables, self._scaled(fake), context)
        return {"wasserstein": -wasserstein_critic(on_real, on_fake), **self.metrics(batch["x"], fake)}

    def _noise(self, key: Key, n: int) -> Array:
        return jax.random.normal(key, (n, self.latents))

    def _scaled(self, x: Array) -> Array:
        return from_data(x, self.event_shape, self.levels, -1.0, 1.0)

    def _generate(
        self, variables: Variables, z: Array, context: Array | None, key: Key | None = None
    ) -> tuple[Array, Mapping]:
        """G(z) as the critic sees it, and the batch statistics that a training pass leaves."""
        y, state = forward(self._generator, variables["generator"], concatenate_context(z, context), key)
        y = y[..., 0]
        return y if self.levels is None else jnp.tanh(y), state

    def _criticise(self, variables: Variables, x: Array, context: Array | None, key: Key | None = None) -> Array:
        return forward(self._critic, variables["critic"], concatenate_context(x, context), key)[0]


def dense_wgan_gp(
    event_shape: tuple[int, ...] = (2,),
    width: int = 512,
    depth: int = 3,
    latents: int = 2,
    penalty_weight: float = 0.1,
    critic_steps: int = 5,
    metrics: Callable[[Array, Array], Mapping[str, Array]] = sample_distances,
    monitor: tuple[str, str] = ("sliced_wasserstein", "min"),
) -> WGANGP:
    """Dense networks for real data, by default the paper's for points of the plane."""
    network = MLP((width,) * depth)
    return WGANGP(network, network, event_shape, latents, None, penalty_weight, critic_steps, metrics, monitor)


def conv_wgan_gp(
    event_shape: tuple[int, int, int],
    width: int = 128,
    latents: int = 128,
    levels: int | None = 256,
    penalty_weight: float = 10.0,
    critic_steps: int = 5,
    layer_norm: bool = False,
    metrics: Callable[[Array, Array], Mapping[str, Array]] = sample_distances,
    monitor: tuple[str, str] = ("sliced_wasserstein", "min"),
) -> WGANGP:
    """The paper's residual networks for images; at 32 x 32 x 3 its CIFAR-10 ones.

    Args:
        layer_norm: in the critic.
    """
    doublings = halvings(event_shape)
    start = (event_shape[0] >> doublings, event_shape[1] >> doublings)
    generator = ResNetGenerator(start, doublings, width)
    critic = ResNetCritic(width, halvings=min(doublings, 2), layer_norm=layer_norm)
    return WGANGP(generator, critic, event_shape, latents, levels, penalty_weight, critic_steps, metrics, monitor)
