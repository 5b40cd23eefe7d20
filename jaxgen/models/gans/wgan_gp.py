"""Wasserstein GAN with gradient penalty (Gulrajani et al. 2017, "Improved Training of Wasserstein GANs").

A critic f approximates the Wasserstein-1 distance between data x and samples G(z) from below, with slopes of about one
at points x^ between them; the generator minimises it:

    critic:     E f(G(z)) - E f(x) + lambda E (|grad f(x^)| - 1)^2,    x^ = e x + (1 - e) G(z),  e ~ U(0, 1)
    generator:  -E f(G(z))

The critic makes five moves per move of the generator.
"""

from __future__ import annotations

import dataclasses

import optax

from jaxgen.models.gans.adversarial_losses import AdversarialLoss, Wasserstein
from jaxgen.models.gans.gan import GAN
from jaxgen.models.gans.penalties import GradientPenalty
from jaxgen.models.gans.terms import Term
from jaxgen.nets.critics import ResNetCritic
from jaxgen.nets.decoders import halved, halvings
from jaxgen.nets.generators import ResNetGenerator
from jaxgen.nets.mlp import MLP


@dataclasses.dataclass(frozen=True, kw_only=True)
class WGANGP(GAN):
    """A `GAN` with the Wasserstein loss and a gradient penalty; the critic must have no batch normalisation."""

    latent_dim: int = 128
    adversarial_loss: AdversarialLoss = Wasserstein()
    terms: tuple[Term, ...] = (GradientPenalty(),)
    critic_steps: int = 5

    def _optimizer(self, play: str) -> optax.GradientTransformation:
        """That of the authors' code: Adam 2e-4 (0, 0.9) for images, 1e-4 (0.5, 0.9) for other data."""
        return optax.adam(2e-4, b1=0.0, b2=0.9) if len(self.event_shape) == 3 else optax.adam(1e-4, b1=0.5, b2=0.9)


def dense_wgan_gp(
    event_shape: tuple[int, ...] = (2,), *, width: int = 512, depth: int = 3, latent_dim: int = 2
) -> WGANGP:
    """Dense networks for floats, by default the paper's for points of the plane, with its penalty of 0.1 there."""
    network = MLP((width,) * depth)
    return WGANGP(network, network, event_shape, latent_dim=latent_dim, terms=(GradientPenalty(0.1),))


def residual_networks(event_shape: tuple[int, int, int], width: int) -> tuple[ResNetGenerator, ResNetCritic]:
    """The paper's generator and critic for images of this size."""
    doublings = halvings(event_shape)
    generator = ResNetGenerator(halved(event_shape, doublings), doublings, width)
    return generator, ResNetCritic(width, halvings=min(doublings, 2))


def residual_wgan_gp(
    event_shape: tuple[int, int, int], *, width: int = 128, latent_dim: int = 128, levels: int | None = 256
) -> WGANGP:
    """The paper's residual networks for images; for 32 x 32 x 3 those of its CIFAR-10 experiments."""
    return WGANGP(*residual_networks(event_shape, width), event_shape, latent_dim=latent_dim, levels=levels)
