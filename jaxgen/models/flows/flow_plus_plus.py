"""Flow++ (Ho, Chen, Srinivas, Duan and Abbeel 2019, arXiv:1902.00275).

A coupling maps one part of the event, from data to latents, by the logit of the distribution function of a mixture of
logistics and an affine map,

    z_b = logit(sum_i pi_i sigmoid((x_b - mu_i) / s_i)) exp(a) + b,

with pi, mu, s, a, b from a gated convolutional network with self-attention on the other part x_a. The noise that
dequantizes the data comes from a second flow (`variational_dequantization.py`). No channels are factored out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxgen.bijectors import (
    ActNorm, Bijector, Chain, Checkerboard, Coupling, Invert, InvertibleLinear, LogisticMixtureCDF, Logit, Repeat,
    Squeeze,
)
from jaxgen.distributions.normal import StandardNormal
from jaxgen.models.flows.flow import Flow
from jaxgen.models.flows.variational_dequantization import VariationalDequantization
from jaxgen.nets.conv_net import GatedConvNet


def flow_plus_plus(
    event_shape: tuple[int, int, int],
    *,
    num_levels: int = 256,
    width: int = 96,
    blocks: int = 10,
    components: int = 32,
    pairs: Sequence[int] = (2, 1, 2),
    noise_pairs: int = 2,
    noise_blocks: int = 2,
    heads: int = 4,
    dropout: float = 0.2,
    alpha: float = 0.05,
) -> Flow:
    """A flow over integer images [B, H, W, C], with an optional context ([B, K] or [B, h, w, K]).

    Args:
        event_shape: height and width, both even, and channels.
        num_levels: number of grey levels.
        width, blocks, heads, dropout: of each coupling's network.
        components: number of components of each mixture.
        pairs: numbers of pairs of couplings: over checkerboards, over channels after a squeeze, and over checkerboards
            of the squeezed image. (The paper has 4, 2 and 3 couplings.)
        noise_pairs, noise_blocks: pairs of couplings of the noise's flow, and blocks of their networks.
        alpha: the logit's argument is alpha + (1 - 2 alpha) x.
    """

    def couplings(mask: Any, times: int, blocks: int) -> Bijector:
        def step(flip: bool) -> Chain:
            network = GatedConvNet(width, blocks, heads, dropout)
            coupling = Coupling(LogisticMixtureCDF(components), network, mask, flip=flip)
            return Chain((ActNorm(), InvertibleLinear(), coupling))

        return Repeat(Chain((step(False), step(True))), times)

    fine, channels, coarse = pairs
    bijector = Chain((
        Logit(alpha),
        couplings(Checkerboard(), fine, blocks),
        Squeeze(),
        couplings(None, channels, blocks),
        couplings(Checkerboard(), coarse, blocks),
        Invert(Squeeze()),
    ))
    noise = VariationalDequantization(couplings(Checkerboard(), noise_pairs, noise_blocks), num_levels)
    return Flow(bijector, StandardNormal(tuple(event_shape)), noise)
