"""The VAE-GAN (Larsen et al. 2016, "Autoencoding beyond pixels using a learned similarity metric", algorithm 1).

A VAE and a GAN that share the decoder. With a layer l of the critic D, z ~ q(z|x), the reconstruction x' = G(z) and a
sample x_p = G(z_p), z_p ~ p(z):

    L_prior = KL(q(z|x) || p(z))
    L_like  = -log N(D_l(x) | D_l(x'), I)
    L_GAN   = log D(x) + log(1 - D(x')) + log(1 - D(x_p))

    encoder:  L_prior + L_like
    decoder:  gamma L_like + log(1 - D(x')) + log(1 - D(x_p))
    critic:   -L_GAN

No gradient of L_like moves the critic, and none of L_GAN the encoder. The decoder's loss is the minimax one. What the
authors' code does differently is `AUTHORS`: it weights real and generated examples equally, and decides by the critic's
costs who of critic and decoder moves. Both belong together: with the weights of L_GAN above, the costs of the best
critic at p = q are log 3 and log 3/2, not both log 2. The first of its scripts for faces shows the critic no
reconstructions (`fakes=("samples",)`). Its gamma is 1e-6 to 1e-5 at 16,384 features.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgen.arguments import broadcast_context, check_number
from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Play, Variables
from jaxgen.losses.adversarial import minimax_generator, non_saturating_generator
from jaxgen.metrics.distances import sample_distances
from jaxgen.models.forward import forward
from jaxgen.models.gans.networks import Critic, CriticOutput
from jaxgen.models.hybrids.feature_vae import FeatureVAE, jointly, log_likelihood
from jaxgen.models.hybrids.gate import GATE, Gate, gated, moves, waiting
from jaxgen.nets.conditioning import Concatenate
from jaxgen.nets.heads import ScalarHead

Fake = Literal["reconstructions", "samples"]
AUTHORS = {"real_weight": 2.0, "gate": Gate()}
"""The fields of the authors' code: `dataclasses.replace(model, **AUTHORS)`."""


@dataclasses.dataclass(frozen=True)
class VAEGAN(FeatureVAE):
    """A VAE's players and `critic`; plays `critic`, `encoder` and `decoder`, each step in this order.

    With a context, such as attributes, encoder, decoder and critic are conditional.

    Attributes:
        critic: any network from data (and context, concatenated) to the features D_l.
        critic_head: the layers above l, from D_l to a score.
        gamma: weight of the reconstruction in the decoder's loss.
        fakes: the generated examples in the losses of critic and decoder.
        real_weight: of log D(x) in the critic's loss; 2 balances it with two kinds of fakes.
        generator_loss: of the critic's scores of generated examples; `non_saturating_generator` in many other
            implementations.
        gate: decides by the critic's costs whether critic and decoder move; None: both always move.
        metrics: `(real, fake) -> {name: scalar}` on samples in data units, reported by `evaluate`.
        monitor: the metric of `evaluate` that chooses the best checkpoint, and its direction.

    Raises:
        ValueError: as `FeatureVAE`; no fakes or unknown ones; a negative weight.
    """

    _: dataclasses.KW_ONLY
    critic: nn.Module
    critic_head: nn.Module = ScalarHead()
    gamma: float = 1e-5
    fakes: tuple[Fake, ...] = ("reconstructions", "samples")
    real_weight: float = 1.0
    generator_loss: Callable[[Array], Array] = minimax_generator
    gate: Gate | None = None
    metrics: Callable[[Array, Array], Mapping[str, Array]] = sample_distances
    monitor: tuple[str, str] = ("sliced_wasserstein", "min")

    def __post_init__(self):
        super().__post_init__()
        check_number("gamma", self.gamma, 0)
        check_number("real_weight", self.real_weight, 0)
        if not self.fakes or not set(self.fakes) <= {"reconstructions", "samples"}:
            raise ValueError(f"`fakes` must be some of 'reconstructions' and 'samples', got {self.fakes}")

    @property
    def _critic(self) -> nn.Module:
        return Critic(self.critic, Concatenate(), self.critic_head)

    def init(self, key: Key, batch: Batch) -> Variables:
        """Raises:
        ValueError: as `VAE.init`.
        """
        vae_key, critic_key = jax.random.split(key)
        seen = self._observe(batch["x"], None)[0]
        critic = self._critic.init(critic_key, (seen, broadcast_context(batch.get("context"), seen)))
        if self.gate is not None:
            critic = {**critic, GATE: Gate.opened()}
        return {**super().init(vae_key, batch), "critic": critic}

    def plays(self) -> Mapping[str, Play]:
        inferring = tuple(player for player in self.players if player != "decoder")
        return {
            "critic": Play(("critic",), self.critic_loss, waiting(optax.rmsprop(3e-4))),
            "encoder": Play(inferring, self.encoder_loss, optax.rmsprop(3e-4)),
            "decoder": Play(("decoder",), self.decoder_loss, waiting(optax.rmsprop(3e-4))),
        }

    def critic_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metrics: the costs `real` and `fake`, -E log D(x) and the mean of -E log(1 - D) over the fakes; with a gate
        whether the `critic_moves` and the `decoder_moves`.
        """
        generate_key, critic_key = jax.random.split(key)
        generated = self.generate_both(variables, batch, generate_key)
        batches = (generated.real, *(getattr(generated, name) for name in self.fakes))
        (on_real, *on_fakes), statistics = self._criticize(variables, batches, generated.context, critic_key)
        real = non_saturating_generator(on_real.score)
        fakes = [-minimax_generator(each.score) for each in on_fakes]
        fake = sum(fakes) / len(fakes)
        value, metrics, memory = self.real_weight * real + sum(fakes), {"real": real, "fake": fake}, {}
        if self.gate is not None:
            gate = self.gate(real, fake)
            value, memory = gated(value, gate["critic"]), {"critic": {GATE: gate}}
            metrics |= {f"{name}_moves": moving.astype(jnp.float32) for name, moving in gate.items()}
        return LossOutput(value, metrics, {"critic": statistics}, memory)

    def encoder_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """The objective with the likelihood of features, in nats; metrics are its parts."""
        loss = super().loss(variables, batch, key, clock)
        # the decoder's play updates its statistics
        return loss.replace(statistics={player: s for player, s in loss.statistics.items() if player != "decoder"})

    def decoder_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metrics: `reconstruction`, E log N(D_l(x) | D_l(x'), I), and `adversarial`, the sum over the fakes."""
        generate_key, critic_key, features_key = jax.random.split(key, 3)
        generated = self.generate_both(variables, batch, generate_key)
        real, reconstructions, _ = generated.images
        # without samples: where the critic has batch statistics, wild ones would bring all features together
        on_both = self.features(variables, (real, reconstructions), generated.context, features_key)
        reconstruction = log_likelihood(*on_both).mean()
        batches = (real, *(getattr(generated, name) for name in self.fakes))
        (_, *on_fakes), _ = self._criticize(variables, batches, generated.context, critic_key)
        adversarial = sum(self.generator_loss(each.score) for each in on_fakes)
        value = gated(adversarial - self.gamma * reconstruction, moves(variables["critic"], "decoder"))
        metrics = {"reconstruction": reconstruction, "adversarial": adversarial}
        return LossOutput(value, metrics, {"decoder": generated.statistics["decoder"]})

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """`elbo` and its parts, with the likelihood of features, in nats; `squared_error` of reconstructions from a
        sample of q(z|x), summed over the event, of data on [0, 1] if they are integers; `score_gap`, E D(x) - E D(x_p)
        of logits; `metrics` of as many samples as examples.
        """
        terms_key, generate_key = jax.random.split(key)
        generated = self.generate_both(variables, batch, generate_key, training=False)
        outputs, _ = self._criticize(variables, (generated.real, generated.samples), generated.context)
        real, sampled = (output.score.mean() for output in outputs)
        difference = (generated.real - generated.reconstructions).reshape(generated.real.shape[0], -1)
        return {
            **super().evaluate(variables, batch, terms_key),
            "squared_error": (difference**2).sum(-1).mean(),
            "score_gap": real - sampled,
            **self.metrics(batch["x"], self._data_units(generated.samples)),
        }

    def sample(
        self, variables: Variables, key: Key, n: int, context: Array | None = None, means: bool = True
    ) -> Array:
        """G(z), z ~ p(z), in data units; without `means` a sample of the pixels' likelihood, which is not trained."""
        return super().sample(variables, key, n, context, means)

    def features(
        self, variables: Variables, images: tuple[Array, ...], context: Array | None, key: Key | None = None
    ) -> list[tuple[Array, ...]]:
        outputs, _ = self._criticize(variables, images, context, key)
        return [(output.features,) for output in outputs]

    def critic_output(self, variables: Variables, x: Array, context: Array | None = None) -> CriticOutput:
        """The critic's score and features D_l of examples in data units, [B, ...] each."""
        seen = self._observe(x, None)[0]
        return self._criticize(variables, (seen,), broadcast_context(context, seen))[0][0]

    def _criticize(
        self, variables: Variables, batches: tuple[Array, ...], context: Array | None, key: Key | None = None
    ) -> tuple[list[CriticOutput], Mapping[str, Any]]:
        """The critic's outputs on each batch, and its updated statistics; with a key in training mode."""

        def criticize(x: Array, context: Array | None) -> tuple[CriticOutput, Mapping[str, Any]]:
            return forward(self._critic, variables["critic"], (x, context), key=key)

        return jointly(criticize, batches, context)
