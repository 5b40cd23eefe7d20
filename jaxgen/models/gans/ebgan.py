"""The energy-based GAN (Zhao et al. 2017, "Energy-based Generative Adversarial Network").

The critic is an autoencoder, and its score an energy, the error of its reconstruction:

    D(x) = |Dec(Enc(x)) - x|^2
    critic:     E D(x) + E max(0, m - D(G(z)))
    generator:  E D(G(z)) + w PT,    PT = mean over pairs i != j of cos^2(S_i, S_j),  S = Enc(G(z))

(equations 1 to 4; PT, the pulling-away term, keeps the codes of a batch of samples apart). Energies are means over
coordinates, so that a margin does not depend on their number.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp
from flax import linen as nn

from jaxgen.contracts import Array, LossOutput, Play, Variables
from jaxgen.losses.energies import pulling_away
from jaxgen.models.gans.criteria import Criterion, Energy
from jaxgen.models.gans.gan import GAN
from jaxgen.models.gans.players import Judgement, Pair, told
from jaxgen.nets.conditioning import Projection
from jaxgen.nets.heads import EventHead


class Autoencoder(nn.Module):
    """An event to its energy [B] and its code [B, ...].

    Attributes:
        power: the energy is the mean over coordinates of |Dec(Enc(x)) - x|^power.
    """

    encoder: nn.Module
    decoder: nn.Module
    condition: nn.Module
    event_shape: tuple[int, ...]
    power: int = 2

    @nn.compact
    def __call__(self, pair: Pair) -> Judgement:
        x, context = pair
        code = self.encoder(told(self.condition, x, context))
        again = EventHead(self.event_shape, name="head")(self.decoder(code))[..., 0]
        error = jnp.abs(again - x) ** self.power
        return Judgement(error.mean(tuple(range(1, x.ndim))), code)


@dataclasses.dataclass(frozen=True)
class EBGAN(GAN):
    """A `GAN` whose critic is an autoencoder: `critic` is its encoder, and its scores are energies, low for data.

    Attributes:
        criterion: an energy's.
        decoder: any network from codes to features; the model adds the last layer.
        pulling_away: w; 0 for none, the paper's 0.1 in EBGAN-PT.
    """

    criterion: Criterion = Energy()
    decoder: nn.Module | None = None
    pulling_away: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        if self.decoder is None:
            raise ValueError("the critic is an autoencoder: give its decoder too")
        if isinstance(self.critic_condition, Projection):
            raise ValueError("a projection is of a score that is linear in features, and an energy is not: concatenate")

    @property
    def _critic(self) -> nn.Module:
        shape = (*self.event_shape[:-1], self.packing * self.event_shape[-1])
        # a clone, or Flax would take a decoder that is the encoder's very object for shared layers
        return Autoencoder(self.critic, self.decoder.clone(), self.critic_condition, shape)

    def plays(self) -> Mapping[str, Play]:
        plays = super().plays()
        # the pulling-away term is of pairs
        alone = plays["generator"].accumulates and not self.pulling_away
        return {**plays, "generator": plays["generator"]._replace(accumulates=alone)}

    def _generator_term(
        self, variables: Variables, on_fake: Judgement, z: Array, context: Array | None
    ) -> LossOutput:
        if not self.pulling_away:
            return LossOutput(jnp.zeros(()))
        term = pulling_away(on_fake.features.reshape(on_fake.features.shape[0], -1))
        return LossOutput(self.pulling_away * term, {"pulling_away": term})
