"""The recurrent conditional GAN (Esteban et al. 2017, "Real-valued (Medical) Time Series Generation with Recurrent
Conditional GANs").

A `GAN` whose networks are recurrent: noise z_t ~ N(0, I) at each step, beside the context (a one-hot class, repeated),
goes through an LSTM and a dense layer with a tanh; the critic, another LSTM, rates each step of the series beside the
context by a logit a_t, and its loss is a mean over steps (section 3.1, equation 1):

    critic:     E_t softplus(-a_t(x)) + E_t softplus(a_t(G(z)))
    generator:  E_t softplus(-a_t(G(z)))

The authors' code trains the critic by plain gradient descent at 0.1, the generator by Adam at 0.001, and draws the
weights of both dense layers with standard deviation one: with smaller ones, gradient descent at this rate moves the
critic slowly. Data are on [-1, 1].
"""

from __future__ import annotations

import dataclasses
from typing import Any

import optax
from flax import linen as nn

from jaxgen.distributions.normal import StandardNormal
from jaxgen.models.gans.gan import GAN
from jaxgen.nets.heads import PositionHead
from jaxgen.nets.stacked_rnn import StackedRNN


@dataclasses.dataclass(frozen=True, kw_only=True)
class RCGAN(GAN):
    """A `GAN` with the authors' optimizers; `rc_gan` builds one with their networks."""

    def _optimizer(self, play: str) -> optax.GradientTransformation:
        return optax.sgd(0.1) if play == "critic" else optax.adam(1e-3)


def rc_gan(event_shape: tuple[int, int], width: int = 100, latent_dim: int = 5, **fields: Any) -> RCGAN:
    """An RCGAN of series of shape (T, D).

    Args:
        width: units of each LSTM.
        latent_dim: dimension of z_t.
        fields: other fields of the model.
    """
    steps, columns = event_shape
    return RCGAN(
        generator=StackedRNN(width, 1, "lstm"),
        critic=StackedRNN(width, 1, "lstm"),
        event_shape=tuple(event_shape),
        generator_head=PositionHead(columns, nn.tanh, stddev=1.0),
        critic_head=PositionHead(stddev=1.0),
        latent_dim=latent_dim,
        prior=StandardNormal((steps, latent_dim)),
        **fields,
    )
