"""Generative latent optimisation (Bojanowski et al. 2018, "Optimizing the Latent Space of Generative Networks").

A latent z_i on the unit sphere for each training example x_i is learned together with a generator G:

    min over G and z_1, ..., z_N:   sum_i d(x_i, G(z_i)),      d(x, y) = E |x - y| + sum_l E |f_l(x) - f_l(y)|

with the features f_l of a fixed network, as in GLANN (`jaxgen.models.hybrids.glann`); the paper has a Laplacian
pyramid. Samples are G at a normal distribution fitted to the latents.

The table of latents is a player. Its Adam is dense: a row moves at each step by its momentum, also where it is not in
the batch and has no gradient. This is what the authors' code does (`nn.Embedding` with the default `sparse=False`).
With beta_1 = 0.5 almost all of a row's step comes within four steps of its gradient, so that it does not drift through
the epoch; but its squared gradients, almost always zero, are small averages, so that a visit moves it by several times
the learning rate. In the code of GLANN's authors Adam is created anew for each epoch (`authors_optimizers`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgen.arguments import as_batch, check_counts, check_shape, freeze_fields
from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Play, Variables
from jaxgen.losses.perceptual import Features, feature_distance
from jaxgen.metrics.distances import sample_distances
from jaxgen.models.forward import forward
from jaxgen.models.hybrids.epochs import projected_rows, restarted, unit_rows
from jaxgen.models.scaling import from_data, to_data
from jaxgen.nets.heads import EventHead, Headed
from jaxgen.sharding import sharded


@dataclasses.dataclass(frozen=True)
class GLO:
    """Players `latents` (the table), `generator` and, with features, `features`; play `glo`.

    Batches have an `index`, the row of each example in the table. No play moves the features: bring trained variables
    with `fit(start={"features": variables})`.

    Attributes:
        generator: any network from latents to features; the model adds the last layer, and a sigmoid for integer data.
        event_shape: shape of an example, without the batch.
        num_examples: N.
        epoch: steps of an epoch, after which latents are projected onto the sphere; with `halving` and GLANN also the
            learning rates and the matches depend on it.
        latent_dim: dimension of z.
        levels: the data are integers 0..levels-1, scaled to [0, 1]; None: they are floats.
        features: any network from RGB in [0, 1] to `{layer: features}`; None: only pixels are compared.
        layers: whose features are compared.
        halving: epochs until the learning rates of `glo` are halved, again and again.
        metrics: `(real, fake) -> {name: scalar}` on samples in data units, reported by `evaluate`.
        monitor: the metric of `evaluate` that chooses the best checkpoint, and its direction.
    """

    generator: nn.Module
    event_shape: tuple[int, ...]
    num_examples: int
    _: dataclasses.KW_ONLY
    epoch: int
    latent_dim: int = 64
    levels: int | None = None
    features: nn.Module | None = None
    layers: tuple[str, ...] = ("relu1_2", "relu2_2", "relu3_2")
    halving: int = 20
    metrics: Callable[[Array, Array], Mapping[str, Array]] = sample_distances
    monitor: tuple[str, str] = ("sliced_wasserstein", "min")

    def __post_init__(self):
        freeze_fields(self)
        check_shape(self.event_shape)
        check_counts(num_examples=self.num_examples, epoch=self.epoch, latent_dim=self.latent_dim, halving=self.halving)

    @property
    def _generator(self) -> nn.Module:
        return Headed(self.generator, EventHead(self.event_shape))

    def init(self, key: Key, batch: Batch) -> Variables:
        """Raises:
        ValueError: data of another shape or type; a batch without indices.
        """
        if "index" not in batch:
            raise ValueError(f"{type(self).__name__} expects a batch with an entry 'index', got {sorted(batch)}")
        table_key, generator_key, features_key = jax.random.split(key, 3)
        table = 0.01 * jax.random.normal(table_key, (self.num_examples, self.latent_dim))
        variables = {
            "latents": {"params": {"table": table}},
            "generator": self._generator.init(generator_key, table[:2]),
        }
        if self.features is not None:
            variables["features"] = self.features.init(features_key, _rgb(self._scaled(batch["x"][:2])))
        return variables

    def plays(self) -> dict[str, Play]:
        return {"glo": Play(("latents", "generator"), self.loss, self._optimizer(lambda adam: adam))}

    def authors_optimizers(self) -> dict[str, optax.GradientTransformation]:
        """By play: Adam is created anew for each epoch. For `fit(optimizers=...)`."""
        return {"glo": self._optimizer(lambda adam: restarted(adam, self.epoch))}

    def _optimizer(self, wrap: Callable[..., optax.GradientTransformation]) -> optax.GradientTransformation:
        def adam(rate: float) -> optax.GradientTransformation:
            rates = optax.exponential_decay(rate, self.halving * self.epoch, 0.5, staircase=True)
            return optax.chain(wrap(optax.scale_by_adam(b1=0.5)), optax.scale_by_learning_rate(rates))

        by_player = {"latents": optax.chain(adam(1e-2), projected_rows(self.epoch)), "generator": adam(1e-3)}
        return optax.multi_transform(by_player, {player: player for player in by_player})

    def loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """The distance of examples from G at their latents."""
        z, real = variables["latents"]["params"]["table"][batch["index"]], self._scaled(batch["x"])
        fake, statistics = self._generate(variables, z, key)
        value = feature_distance(self._compared(variables, fake), self._compared(variables, real), absolute=True)
        return LossOutput(value, {}, {"generator": statistics})

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """`metrics` of as many samples as examples."""
        return self.metrics(batch["x"], self.sample(variables, key, jnp.shape(batch["x"])[0]))

    def latents(self, variables: Variables) -> Array:
        """The latents of the training examples, on the unit sphere: [N, latent_dim]."""
        return unit_rows(jnp.asarray(variables["latents"]["params"]["table"]))

    def gaussian_latents(self, variables: Variables, key: Key, n: int) -> Array:
        """Samples of the normal distribution with mean and covariance of the latents, [n, latent_dim]."""
        z = self.latents(variables)
        factor = jnp.linalg.cholesky(jnp.cov(z.T).reshape(z.shape[1], -1) + 1e-6 * jnp.eye(z.shape[1]))
        return sharded(z.mean(0) + jax.random.normal(key, (n, z.shape[1])) @ factor.T)

    def sample_latents(self, variables: Variables, key: Key, n: int) -> Array:
        """The latents of samples, [n, latent_dim]."""
        return self.gaussian_latents(variables, key, n)

    def sample(self, variables: Variables, key: Key, n: int, context: Array | None = None) -> Array:
        """G(z) in data units at `sample_latents`; ignores the context."""
        return self.decode(variables, self.sample_latents(variables, key, n))

    def decode(self, variables: Variables, z: Array, context: Array | None = None) -> Array:
        """G(z / |z|) in data units; ignores the context."""
        return to_data(self._generate(variables, as_batch("z", z))[0], self.levels)

    def _generate(self, variables: Variables, z: Array, key: Key | None = None) -> tuple[Array, Mapping[str, Any]]:
        """G(z / |z|) on [0, 1] for integer data, and updated statistics; with a key in training mode."""
        x, statistics = forward(self._generator, variables["generator"], unit_rows(z), key=key)
        return x[..., 0] if self.levels is None else nn.sigmoid(x[..., 0]), statistics

    def _compared(self, variables: Variables, x: Array) -> Features:
        if self.features is None:
            return {"pixels": x}
        features, _ = forward(self.features, variables["features"], _rgb(x))
        return {"pixels": x, **{layer: features[layer] for layer in self.layers}}

    def _scaled(self, x: Array) -> Array:
        return from_data(x, self.event_shape, self.levels)


def _rgb(x: Array) -> Array:
    return jnp.broadcast_to(x, (*x.shape[:-1], 3))
