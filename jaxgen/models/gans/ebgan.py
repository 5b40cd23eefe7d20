"""The energy-based GAN (Zhao et al. 2017, "Energy-based Generative Adversarial Network").

The critic is an autoencoder, and its score an energy, the reconstruction error:

    D(x) = |Dec(Enc(x)) - x|^2
    critic:     E D(x) + E max(0, m - D(G(z)))
    generator:  E D(G(z)) + w PT,    PT = mean over pairs i != j of cos^2(S_i, S_j),  S = Enc(G(z))

(equations 1 to 4; PT, the term `PullingAway(w)`, spreads the codes of a batch of samples.) Energies are means over
coordinates, so that a margin does not depend on their number.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
from flax import linen as nn

from jaxgen.contracts import LossOutput
from jaxgen.losses.energies import pulling_away
from jaxgen.models.gans.adversarial_losses import AdversarialLoss, Energy
from jaxgen.models.gans.gan import GAN
from jaxgen.models.gans.networks import CriticOutput, Inputs, apply_condition
from jaxgen.models.gans.terms import ForwardPass, Term
from jaxgen.nets.conditioning import Projection
from jaxgen.nets.heads import EventHead


class Autoencoder(nn.Module):
    """An event to its energy [B] as the score, and its code [B, ...] as the features.

    Attributes:
        power: the energy is the mean over coordinates of |Dec(Enc(x)) - x|^power.
    """

    encoder: nn.Module
    decoder: nn.Module
    condition: nn.Module
    event_shape: tuple[int, ...]
    power: int = 2

    @nn.compact
    def __call__(self, inputs: Inputs) -> CriticOutput:
        x, context = inputs
        code = self.encoder(apply_condition(self.condition, x, context))
        reconstruction = EventHead(self.event_shape, name="head")(self.decoder(code))[..., 0]
        error = jnp.abs(reconstruction - x) ** self.power
        return CriticOutput(error.mean(tuple(range(1, x.ndim))), code)


@dataclasses.dataclass(frozen=True)
class PullingAway(Term):
    """Added to the generator's loss: weight PT on the critic's features of the samples. Metric: `pulling_away`.

    Attributes:
        weight: w, the paper's in EBGAN-PT.
    """

    accumulates: ClassVar = ("critic",)

    weight: float = 0.1

    def generator_loss(self, computed: ForwardPass) -> LossOutput:
        features = computed.on_fake.features
        value = pulling_away(features.reshape(features.shape[0], -1))
        return LossOutput(self.weight * value, {"pulling_away": value})


@dataclasses.dataclass(frozen=True, kw_only=True)
class EBGAN(GAN):
    """A `GAN` with an autoencoder as its critic: `critic` is the encoder; scores are energies, low for data.

    Attributes:
        decoder: any network from codes to features; the model adds the last layer.
    """

    adversarial_loss: AdversarialLoss = Energy()
    decoder: nn.Module

    def __post_init__(self):
        super().__post_init__()
        if isinstance(self.critic_condition, Projection):
            raise ValueError("`critic_condition` must not be a `Projection`: an energy is not linear in the features")
        if any(term.critic_layer(deterministic=True) for term in self.terms):
            raise ValueError("`terms` must not replace the critic's features, as `Bottleneck` does: it decodes them")

    def _critic(self, deterministic: bool = False) -> nn.Module:
        shape = (*self.event_shape[:-1], self.packing * self.event_shape[-1])
        # a clone: Flax would share the layers of a decoder that is the same object as the encoder
        return Autoencoder(self.critic, self.decoder.clone(), self._condition, shape)
