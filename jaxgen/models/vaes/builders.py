"""Autoencoders with the usual networks: dense, convolutional, residual, recurrent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from flax import linen as nn

from jaxgen.arguments import check_counts, check_shape
from jaxgen.distributions.discretized import DiscretizedLogistic
from jaxgen.distributions.likelihoods import Gaussian, Likelihood
from jaxgen.models.codebook import Codebook
from jaxgen.models.vaes.sequence_vae import SequenceVAE
from jaxgen.models.vaes.vae import VAE
from jaxgen.models.vaes.vq_vae import VQVAE
from jaxgen.nets.decoders import ConvDecoder, ResidualDecoder, halved, halvings
from jaxgen.nets.encoders import ConvEncoder, ResidualEncoder
from jaxgen.nets.mlp import MLP
from jaxgen.nets.pixel_cnn import PixelCNN
from jaxgen.nets.recurrent import RecurrentDecoder, RecurrentEncoder


def dense_vae(
    event_shape: tuple[int, ...],
    *,
    latent_dim: int = 50,
    widths: tuple[int, ...] = (200, 200),
    activation: Callable = nn.tanh,
    **fields: Any,
) -> VAE:
    """Dense networks, by default those of Burda et al. 2016 on binarized MNIST: 784-200-200-50-200-200-784, tanh.

    Args:
        widths: of the hidden layers, from the data to the latents; reversed for the decoder.
        fields: other fields of `VAE`.
    """
    check_counts(widths=widths)
    encoder, decoder = MLP(widths, activation), MLP(widths[::-1], activation)
    return VAE(encoder, decoder, event_shape, latent_dim=latent_dim, **fields)


def conv_vae(
    event_shape: tuple[int, int, int],
    *,
    latent_dim: int = 64,
    width: int = 32,
    likelihood: Likelihood = DiscretizedLogistic(256),
    levels: int | None = 256,
    **fields: Any,
) -> VAE:
    """Convolutional networks for images, halved while the sides are even and at least 8 pixels, with doubling channels.

    Args:
        width: channels at the highest resolution.
        fields: other fields of `VAE`.
    """
    check_shape(event_shape)
    check_counts(width=width)
    stages = halvings(event_shape)
    widths = tuple(width * 2**i for i in range(stages))
    decoder = ConvDecoder(halved(event_shape, stages), (*widths[::-1], width))
    return VAE(
        ConvEncoder(widths), decoder, event_shape, latent_dim=latent_dim, likelihood=likelihood, levels=levels, **fields
    )


def residual_vae(
    event_shape: tuple[int, int, int],
    *,
    latent_dim: int = 64,
    width: int = 128,
    blocks: int = 2,
    likelihood: Likelihood = DiscretizedLogistic(256),
    levels: int | None = 256,
    **fields: Any,
) -> VAE:
    """The VQ-VAE's residual networks for images, halved twice, or as often as the sides keep at least 4 pixels.

    Args:
        width: channels at the lowest resolution; a quarter of them within each of the `blocks` residual blocks.
        fields: other fields of `VAE`.
    """
    check_shape(event_shape)
    check_counts(width=width)
    check_counts(0, blocks=blocks)
    stages, hidden = min(2, halvings(event_shape)), max(1, width // 4)
    encoder = ResidualEncoder(width, stages, blocks, hidden)
    decoder = ResidualDecoder(width, stages, blocks, hidden, halved(event_shape, stages))
    return VAE(encoder, decoder, event_shape, latent_dim=latent_dim, likelihood=likelihood, levels=levels, **fields)


def recurrent_vae(
    event_shape: tuple[int, ...],
    *,
    latent_dim: int = 32,
    width: int = 128,
    cell: Literal["gru", "lstm"] = "gru",
    likelihood: Likelihood = Gaussian(),
    **fields: Any,
) -> SequenceVAE:
    """Recurrent networks: for symbols [T] with `likelihood=Categorical(levels)`, or for a time series [T, D].

    Args:
        fields: other fields of `SequenceVAE`.
    """
    encoder, decoder = RecurrentEncoder(width, cell), RecurrentDecoder(width, cell)
    return SequenceVAE(encoder, decoder, event_shape, latent_dim=latent_dim, likelihood=likelihood, **fields)


def residual_vq_vae(
    event_shape: tuple[int, int, int],
    *,
    codebook: Codebook = Codebook(),
    width: int = 128,
    blocks: int = 2,
    hidden: int = 32,
    prior_width: int | None = 64,
    prior_blocks: int = 5,
    prior_dropout: float = 0.0,
    **fields: Any,
) -> VQVAE:
    """The paper's networks for images: halved twice (8x8 places for 32x32), or as often as the sides keep 4 pixels.

    Args:
        width: channels at the lowest resolution; half of them at the next.
        blocks, hidden: residual blocks of encoder and decoder, and the channels within one.
        prior_width: channels of the gated PixelCNN; None: a uniform prior.
        prior_blocks, prior_dropout: its layers, and its dropout rate.
        fields: other fields of `VQVAE`.
    """
    stages = min(2, halvings(event_shape))
    encoder, decoder = (network(width, stages, blocks, hidden) for network in (ResidualEncoder, ResidualDecoder))
    prior = None
    if prior_width is not None:
        prior = PixelCNN(codebook.num_codes, prior_width, prior_blocks, dropout=prior_dropout)
    return VQVAE(encoder, decoder, event_shape, codebook=codebook, prior=prior, **fields)
