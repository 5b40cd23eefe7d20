"""Variational autoencoders of the usual networks: dense, convolutional, residual."""

from __future__ import annotations

from collections.abc import Callable

from flax import linen as nn

from jaxgen.arguments import counts, shape
from jaxgen.distributions.likelihoods import Bernoulli, DiscretizedLogistic, Likelihood
from jaxgen.models.vaes.objectives import ELBO, Objective
from jaxgen.models.vaes.vae import VAE
from jaxgen.nets.decoders import ConvDecoder, ResidualDecoder, halved, halvings
from jaxgen.nets.encoders import ConvEncoder, ResidualEncoder
from jaxgen.nets.mlp import MLP


def dense_vae(
    event_shape: tuple[int, ...],
    latents: int = 50,
    widths: tuple[int, ...] = (200, 200),
    activation: Callable = nn.tanh,
    likelihood: Likelihood = Bernoulli(),
    levels: int | None = None,
    binarize: bool = True,
    objective: Objective = ELBO(),
) -> VAE:
    """Dense networks, by default those of Burda et al. 2016 on binarized MNIST: 784-200-200-50-200-200-784, tanh.

    `widths` run from the data to the latents, and back for the decoder.
    """
    counts(widths=widths)
    encoder, decoder = MLP(widths, activation), MLP(widths[::-1], activation)
    return VAE(encoder, decoder, event_shape, latents, likelihood, levels, binarize, objective)


def conv_vae(
    event_shape: tuple[int, int, int],
    latents: int = 64,
    width: int = 32,
    likelihood: Likelihood = DiscretizedLogistic(256),
    levels: int | None = 256,
    binarize: bool = True,
    objective: Objective = ELBO(),
) -> VAE:
    """Convolutional networks for images, halved while they are even and above 4 pixels, the channels doubling."""
    shape(event_shape)
    counts(width=width)
    stages = halvings(event_shape)
    widths = tuple(width * 2**i for i in range(stages))
    start = halved(event_shape, stages)
    decoder = ConvDecoder(start, (*widths[::-1], width)) if widths else ConvDecoder(start, (width,))
    return VAE(ConvEncoder(widths), decoder, event_shape, latents, likelihood, levels, binarize, objective)


def residual_vae(
    event_shape: tuple[int, int, int],
    latents: int = 64,
    width: int = 128,
    blocks: int = 2,
    likelihood: Likelihood = DiscretizedLogistic(256),
    levels: int | None = 256,
    binarize: bool = True,
    objective: Objective = ELBO(),
) -> VAE:
    """Residual networks for images, halved twice, or as often as they leave 4 pixels: those of the VQ-VAE.

    `width` is of the lowest resolution, a quarter of it of each of the `blocks` residual blocks within.
    """
    shape(event_shape)
    counts(width=width)
    counts(0, blocks=blocks)
    stages, hidden = min(2, halvings(event_shape)), max(1, width // 4)
    start = halved(event_shape, stages)
    encoder = ResidualEncoder(width, stages, blocks, hidden)
    decoder = ResidualDecoder(width, stages, blocks, hidden, start)
    return VAE(encoder, decoder, event_shape, latents, likelihood, levels, binarize, objective)
