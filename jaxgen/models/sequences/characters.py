"""WGAN-GP on characters (Gulrajani et al. 2017, "Improved Training of Wasserstein GANs", section 5.4).

The critic sees texts as one-hot vectors and samples as the probabilities of their characters, all of a text at once,
without sampling; a sample's characters are the most probable ones.

    critic:     E f(G(z)) - E f(one_hot(x)) + 10 E (|grad f(x^)| - 1)^2
    generator:  -E f(G(z))

x^ is on the line between a text and a sample; the norm is over positions and characters. `relaxation=GumbelSoftmax()`
shows the critic relaxed samples of the characters in place of their probabilities (Kusner and Hernandez-Lobato 2016,
"GANs for Sequences of Discrete Elements with the Gumbel-softmax Distribution").
"""

from __future__ import annotations

from functools import partial

from flax import linen as nn

from jaxgen.metrics.bigrams import bigram_divergences
from jaxgen.models.gans.wgan_gp import WGANGP
from jaxgen.nets.conv1d import ResNet1DCritic, ResNet1DGenerator
from jaxgen.nets.relaxations import Softmax


def character_wgan_gp(
    length: int,
    num_symbols: int,
    *,
    width: int = 512,
    blocks: int = 5,
    latent_dim: int = 128,
    critic_steps: int = 10,
    relaxation: nn.Module = Softmax(),
) -> WGANGP:
    """The paper's networks for texts [B, length] of symbols 0..num_symbols-1."""
    return WGANGP(
        ResNet1DGenerator(length, width, blocks), ResNet1DCritic(width, blocks), (length,),
        latent_dim=latent_dim, levels=num_symbols, relaxation=relaxation, critic_steps=critic_steps,
        metrics=partial(bigram_divergences, num_symbols=num_symbols), monitor=("js2", "min"),
    )  # fmt: skip
