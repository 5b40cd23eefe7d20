"""GANomaly (Akcay et al. 2018, "GANomaly: Semi-Supervised Anomaly Detection via Adversarial Training").

An autoencoder of normal examples, a second encoder of its reconstructions, and a critic D with features f, the input of
its last layer. With z = E(x), x' = G(z) and z' = E'(x'):

    L_adv = E |f(x) - f(x')|^2,    L_con = E |x - x'|_1,    L_enc = E |z - z'|^2

    autoencoder:  w_adv L_adv + w_con L_con + w_enc L_enc      (E, G and E')
    critic:       -1/2 E log D(x) - 1/2 E log(1 - D(x'))

    score:        A(x) = |E(x) - E'(G(E(x)))|_1

The norms in the losses are means over coordinates, as in the authors' code, to which the weights 1, 50 and 1 belong. An
example's score depends on nothing else: the authors' code normalises by the statistics of the test batch, scales scores
to [0, 1] over the test set, and reports the epoch with the best test result. It also initialises the critic anew
whenever its loss is below 1e-5, which the paper does not mention and this model does not do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax import lax

from jaxgen.arguments import as_batch, check_counts, check_number, check_shape
from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Play, Variables
from jaxgen.losses.adversarial import non_saturating_discriminator
from jaxgen.models.forward import forward
from jaxgen.models.gans.networks import Critic, CriticOutput, Generator
from jaxgen.models.scaling import from_data, to_data
from jaxgen.nets.conditioning import Unconditional
from jaxgen.nets.heads import Headed, ScalarHead, VectorHead
from jaxgen.nets.interaction import examples_interact

Score = Literal["latent", "latent_squared", "pixels"]


class Passed(NamedTuple):
    """A pass through the autoencoder and the second encoder; `statistics` are those that a training pass updates."""

    x: Array
    z: Array
    reconstruction: Array
    second_z: Array | None
    statistics: Mapping[str, Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class GANomaly:
    """Players `encoder`, `decoder`, `second_encoder` and `critic`; plays `autoencoder` and `critic`, in this order.

    Without its critic (`adversarial_weight=0`) or its second encoder (`latent_weight=0`) the model does not have that
    player; without both it is an autoencoder with the L1 loss.

    Attributes:
        encoder: any network from data to features; the model adds a dense layer to the latents. Both encoders have it.
        decoder: any network from latents to features; the model adds the last layer, and a tanh for integer data.
        event_shape: shape of an example, without the batch.
        critic: any network from data to the features f; None: the encoder's.
        latent_dim: dimension of z.
        levels: the data are integers 0..levels-1, scaled to [-1, 1] for the networks; None: they are floats.
        adversarial_weight, reconstruction_weight, latent_weight: w_adv, w_con and w_enc.
        monitor: the metric of `evaluate` that chooses the best checkpoint, and its direction. It needs normal examples
            alone.

    Raises:
        ValueError: sizes that are not positive integers; a negative weight.
    """

    encoder: nn.Module
    decoder: nn.Module
    event_shape: tuple[int, ...]
    _: dataclasses.KW_ONLY
    critic: nn.Module | None = None
    latent_dim: int = 100
    levels: int | None = None
    adversarial_weight: float = 1.0
    reconstruction_weight: float = 50.0
    latent_weight: float = 1.0
    monitor: tuple[str, str] = ("pixel_error", "min")

    def __post_init__(self):
        check_shape(self.event_shape)
        check_counts(latent_dim=self.latent_dim)
        if self.levels is not None:
            check_counts(2, levels=self.levels)
        for name in ("adversarial_weight", "reconstruction_weight", "latent_weight"):
            check_number(name, getattr(self, name), 0)

    @property
    def _encoder(self) -> nn.Module:
        return Headed(self.encoder, VectorHead(self.latent_dim))

    @property
    def _decoder(self) -> nn.Module:
        return Generator(self.decoder, Unconditional(), self.event_shape, self.levels is not None)

    @property
    def _critic(self) -> nn.Module:
        return Critic(self.critic or self.encoder, Unconditional(), ScalarHead())

    @property
    def _players(self) -> tuple[str, ...]:
        """The players of the autoencoder's play."""
        return ("encoder", "decoder", "second_encoder")[: 3 if self.latent_weight else 2]

    def init(self, key: Key, batch: Batch) -> Variables:
        """Raises:
        ValueError: data of another shape or type.
        """
        encoder_key, decoder_key, second_key, critic_key = jax.random.split(key, 4)
        x = self._scaled(batch["x"])
        variables = {
            "encoder": self._encoder.init(encoder_key, x),
            "decoder": self._decoder.init(decoder_key, (jnp.zeros((x.shape[0], self.latent_dim)), None)),
        }
        if self.latent_weight:
            variables["second_encoder"] = self._encoder.init(second_key, x)
        if self.adversarial_weight:
            variables["critic"] = self._critic.init(critic_key, (x, None))
        return variables

    def plays(self) -> Mapping[str, Play]:
        apart = not examples_interact(self)
        plays = {"autoencoder": Play(self._players, self.loss, optax.adam(2e-4, b1=0.5), accumulates=apart)}
        if self.adversarial_weight:
            plays["critic"] = Play(("critic",), self.critic_loss, optax.adam(2e-4, b1=0.5), accumulates=apart)
        return plays

    def loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """w_adv L_adv + w_con L_con + w_enc L_enc; metrics, without weights: `adversarial`, `reconstruction`, `latent`.
        """
        pass_key, real_key, fake_key = jax.random.split(key, 3)
        passed = self._pass(variables, self._scaled(batch["x"]), pass_key)
        metrics = {"reconstruction": jnp.abs(passed.x - passed.reconstruction).mean()}
        value = self.reconstruction_weight * metrics["reconstruction"]
        if self.latent_weight:
            metrics["latent"] = ((passed.z - passed.second_z) ** 2).mean()
            value += self.latent_weight * metrics["latent"]
        if self.adversarial_weight:
            on_real = self._criticize(variables, passed.x, real_key)[0].features
            on_fake = self._criticize(variables, passed.reconstruction, fake_key)[0].features
            metrics["adversarial"] = ((lax.stop_gradient(on_real) - on_fake) ** 2).mean()
            value += self.adversarial_weight * metrics["adversarial"]
        return LossOutput(value, metrics, passed.statistics)

    def critic_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Of data and reconstructions, which have no gradient; metrics: the mean scores `real` and `fake`."""
        encoder_key, decoder_key, real_key, fake_key = jax.random.split(key, 4)
        x = self._scaled(batch["x"])
        z, _ = forward(self._encoder, variables["encoder"], x, key=encoder_key)
        fake, _ = forward(self._decoder, variables["decoder"], (z, None), key=decoder_key)
        on_real, statistics = self._criticize(variables, x, real_key)
        critic = {**variables["critic"], **statistics}
        on_fake, statistics = self._criticize({"critic": critic}, lax.stop_gradient(fake), fake_key)
        value = 0.5 * non_saturating_discriminator(on_real.score, on_fake.score)
        metrics = {"real": on_real.score.mean(), "fake": on_fake.score.mean()}
        return LossOutput(value, metrics, {"critic": statistics})

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """`pixel_error`, the mean |x - x'| of data on [0, 1] if they are integers; with a second encoder
        `latent_error`, the mean (z - z')^2; with a critic `feature_error`, the mean (f(x) - f(x'))^2.
        """
        passed = self._pass(variables, self._scaled(batch["x"]))
        metrics = {"pixel_error": self._pixels(passed).mean()}
        if self.latent_weight:
            metrics["latent_error"] = ((passed.z - passed.second_z) ** 2).mean()
        if self.adversarial_weight:
            real, fake = (self._criticize(variables, x)[0].features for x in (passed.x, passed.reconstruction))
            metrics["feature_error"] = ((real - fake) ** 2).mean()
        return metrics

    def anomaly_score(
        self, variables: Variables, x: Array, key: Key | None = None, context: Array | None = None,
        by: Score = "latent",
    ) -> Array:  # fmt: skip
        """|z - z'|_1 (`latent`, the paper's), the mean of (z - z')^2 (`latent_squared`, the authors' code), or the mean
        |x - x'| (`pixels`, of data on [0, 1] if they are integers), [B]. The key has no effect.

        Raises:
            ValueError: an unknown score, a score of latents without a second encoder, or a context.
        """
        scores = get_args(Score) if self.latent_weight else ("pixels",)
        if by not in scores:
            raise ValueError(f"`by` must be one of {list(scores)} of this model, got {by!r}")
        if context is not None:
            raise ValueError("`context` must be None: GANomaly is not conditional")
        passed = self._pass(variables, self._scaled(x))
        if by == "pixels":
            return self._pixels(passed)
        difference = passed.z - passed.second_z
        return jnp.abs(difference).sum(-1) if by == "latent" else (difference**2).mean(-1)

    def encode(self, variables: Variables, x: Array, key: Key | None = None, context: Array | None = None) -> Array:
        """E(x), [B, latent_dim]."""
        return forward(self._encoder, variables["encoder"], self._scaled(x))[0]

    def decode(self, variables: Variables, z: Array, context: Array | None = None) -> Array:
        """G(z) in data units."""
        return self._data_units(forward(self._decoder, variables["decoder"], (as_batch("z", z), None))[0])

    def reconstruct(
        self, variables: Variables, x: Array, key: Key | None = None, context: Array | None = None
    ) -> Array:
        """G(E(x)) in data units."""
        return self.decode(variables, self.encode(variables, x))

    def _scaled(self, x: Array) -> Array:
        return from_data(x, self.event_shape, self.levels, -1.0, 1.0)

    def _data_units(self, y: Array) -> Array:
        return to_data(y, self.levels, -1.0, 1.0)

    def _pixels(self, passed: Passed) -> Array:
        """The mean |x - x'| of each example, [B], of data on [0, 1] if they are integers."""
        error = jnp.abs(passed.x - passed.reconstruction).reshape(passed.x.shape[0], -1).mean(-1)
        return error if self.levels is None else error / 2

    def _pass(self, variables: Variables, x: Array, key: Key | None = None) -> Passed:
        """With a key in training mode."""
        keys = (None,) * 3 if key is None else jax.random.split(key, 3)
        statistics = {}
        z, statistics["encoder"] = forward(self._encoder, variables["encoder"], x, key=keys[0])
        fake, statistics["decoder"] = forward(self._decoder, variables["decoder"], (z, None), key=keys[1])
        second_z = None
        if self.latent_weight:
            second = variables["second_encoder"]
            second_z, statistics["second_encoder"] = forward(self._encoder, second, fake, key=keys[2])
        return Passed(x, z, fake, second_z, statistics)

    def _criticize(
        self, variables: Variables, x: Array, key: Key | None = None
    ) -> tuple[CriticOutput, Mapping[str, Any]]:
        """The critic's output, and the statistics that a training pass (with a key) updates."""
        return forward(self._critic, variables["critic"], (x, None), key=key)
