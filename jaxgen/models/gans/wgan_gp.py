"""Wasserstein GAN with gradient penalty (Gulrajani et al. 2017, "Improved Training of Wasserstein GANs").

A critic f approaches the Wasserstein-1 distance between data x and samples G(z) from below, held to slopes of about one
at points x^ on the lines between them; the generator descends it:

    critic:     E f(G(z)) - E f(x) + lambda E (|grad f(x^)| - 1)^2,    x^ = e x + (1 - e) G(z),  e ~ U(0, 1)
    generator:  -E f(G(z))

five moves of the critic for one of the generator, Adam 1e-4 (0.5, 0.9) on points and 2e-4 (0, 0.9) on images.
"""

from __future__ import annotations

from flax import linen as nn

from jaxgen.models.gans.criteria import Wasserstein
from jaxgen.models.gans.gan import GAN
from jaxgen.models.gans.optimizers import Adam
from jaxgen.models.gans.regularizers import GradientPenalty
from jaxgen.nets.critics import ResNetCritic
from jaxgen.nets.decoders import halved, halvings
from jaxgen.nets.generators import ResNetGenerator
from jaxgen.nets.mlp import MLP


def wgan_gp(
    generator: nn.Module,
    critic: nn.Module,
    event_shape: tuple[int, ...],
    latents: int = 128,
    levels: int | None = None,
    penalty_weight: float = 10.0,
    critic_steps: int = 5,
    adam: Adam = Adam(1e-4, 0.5, 0.9),
) -> GAN:
    """The game on any networks, the critic's without batch normalisation."""
    return GAN(
        generator, critic, event_shape, latents, levels, criterion=Wasserstein(),
        penalties=(GradientPenalty(penalty_weight),), critic_steps=critic_steps,
        critic_optimizer=adam, generator_optimizer=adam,
    )  # fmt: skip


def dense_wgan_gp(event_shape: tuple[int, ...] = (2,), width: int = 512, depth: int = 3, latents: int = 2) -> GAN:
    """Dense networks for real data, by default the paper's for points of the plane, with its penalty of 0.1 there."""
    network = MLP((width,) * depth)
    return wgan_gp(network, network, event_shape, latents, penalty_weight=0.1)


def residual_networks(event_shape: tuple[int, int, int], width: int) -> tuple[ResNetGenerator, ResNetCritic]:
    """The paper's generator and critic for images of this size."""
    doublings = halvings(event_shape)
    generator = ResNetGenerator(halved(event_shape, doublings), doublings, width)
    return generator, ResNetCritic(width, halvings=min(doublings, 2))


def residual_wgan_gp(
    event_shape: tuple[int, int, int], width: int = 128, latents: int = 128, levels: int | None = 256
) -> GAN:
    """The paper's residual networks for images; at 32 x 32 x 3 its CIFAR-10 ones."""
    return wgan_gp(*residual_networks(event_shape, width), event_shape, latents, levels, adam=Adam(2e-4, 0.0, 0.9))
