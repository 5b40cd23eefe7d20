"""Glow (Kingma and Dhariwal 2018, "Glow: generative flow with invertible 1x1 convolutions", arXiv:1807.03039).

A step from data to latents normalises the channels, mixes them by an invertible 1x1 convolution, and transforms one
half by an affine coupling,

    z_a = x_a,    z_b = (x_b + t(x_a)) s(x_a),    s = sigmoid(h(x_a) + 2),    log|det dz/dx| = sum log s.

Each scale squeezes 2 x 2 pixels into channels, applies `depth` steps, and passes the first half of the channels to the
next scale; the other half is normal, with moments that one convolution computes from the first. The last scale has a
learned normal prior for each channel, given the context (a class) if there is one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jaxgen.arguments import check_counts, check_shape
from jaxgen.bijectors import (
    ActNorm, Affine, Bijector, Chain, ConditionalNormal, Coupling, Invert, InvertibleLinear, Repeat, SigmoidAffine,
    Squeeze, factor_out,
)
from jaxgen.distributions.dequantization import UniformDequantization
from jaxgen.distributions.normal import StandardNormal
from jaxgen.models.flows.flow import Flow
from jaxgen.nets.conv_net import ConvNet


def glow(
    event_shape: tuple[int, int, int],
    *,
    num_levels: int = 256,
    num_scales: int = 3,
    depth: int = 32,
    width: int = 512,
    permutation: Callable[[], Bijector] = InvertibleLinear,
    transformer: Any = SigmoidAffine(),
    gradient: str = "store",
) -> Flow:
    """A flow over integer images [B, H, W, C], with an optional context ([B, K] or [B, h, w, K]).

    Args:
        event_shape: height, width (both divisible by 2 ** num_scales) and channels.
        num_levels: number of grey levels.
        num_scales: number of resolutions.
        depth: steps per scale.
        width: channels of each coupling's two hidden layers.
        permutation: constructs the bijector that mixes the channels in each step.
        transformer: the couplings' elementwise map; `Additive()` for the paper's additive couplings.
        gradient: "store", "rematerialize" or "reverse" (see `Repeat`).

    Raises:
        ValueError: a count below 1.
    """
    check_shape(event_shape)
    check_counts(num_levels=num_levels, num_scales=num_scales, depth=depth, width=width)

    def scale(remaining: int) -> Bijector:
        step = Chain((ActNorm(), permutation(), Coupling(transformer, ConvNet((width, width)))))
        steps = Repeat(step, depth, gradient)
        rest = ConditionalNormal() if remaining == 1 else factor_out(scale(remaining - 1), ConvNet((), ()))
        return Chain((Squeeze(), steps, rest, Invert(Squeeze())))

    bijector = Chain((Affine(-0.5), scale(num_scales)))
    return Flow(bijector, StandardNormal(tuple(event_shape)), UniformDequantization(num_levels))
