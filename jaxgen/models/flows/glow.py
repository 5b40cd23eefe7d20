"""Glow (Kingma and Dhariwal 2018, "Glow: generative flow with invertible 1x1 convolutions", arXiv:1807.03039).

A step of the flow normalises the channels, mixes them by an invertible 1x1 convolution, and moves one half by what a
network makes of the other,

    z_a = x_a,    z_b = (x_b + t(x_a)) s(x_a),    s = sigmoid(h(x_a) + 2),    log|det dz/dx| = sum log s.

Each scale squeezes 2 x 2 pixels into channels, takes `depth` steps, and hands the first half of the channels to the
next; the other half is normal, with moments that one convolution computes from the half that goes on. The last scale
has a learned prior for each channel, which a context (a class) moves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jaxgen.arguments import counts, shape
from jaxgen.bijectors import (
    ActNorm,
    Affine,
    Bijector,
    Chain,
    ConditionalNormal,
    Coupling,
    Invert,
    InvertibleLinear,
    Repeat,
    SigmoidAffine,
    Squeeze,
    factor_out,
)
from jaxgen.distributions.dequantization import UniformDequantization
from jaxgen.distributions.normal import StandardNormal
from jaxgen.models.flows.flow import Flow
from jaxgen.nets.convolutional import ConvNet


def glow(
    event_shape: tuple[int, int, int],
    levels: int = 256,
    scales: int = 3,
    depth: int = 32,
    width: int = 512,
    *,
    permutation: Callable[[], Bijector] = InvertibleLinear,
    transformer: Any = SigmoidAffine(),
    gradient: str = "store",
) -> Flow:
    """A flow over integer images [B, H, W, C], with a context ([B, K] or [B, h, w, K]) or without.

    Args:
        event_shape: height, width (both divisible by 2 ** scales) and channels.
        levels: number of grey levels.
        scales: resolutions.
        depth: steps in each scale.
        width: channels of each coupling's two hidden layers.
        permutation: makes what mixes the channels in each step.
        transformer: what moves a coordinate; `Additive()` for the paper's additive couplings.
        gradient: "store", "rematerialize" or "reverse": what the backward pass keeps of the steps (see `Repeat`).
    """

    shape(event_shape)
    counts(scales=scales, depth=depth, width=width)

    def scale(remaining: int) -> Bijector:
        step = Chain((ActNorm(), permutation(), Coupling(transformer, ConvNet((width, width)))))
        steps = Repeat(step, depth, gradient)
        rest = ConditionalNormal() if remaining == 1 else factor_out(scale(remaining - 1), ConvNet((), ()))
        return Chain((Squeeze(), steps, rest, Invert(Squeeze())))

    return Flow(Chain((Affine(-0.5), scale(scales))), StandardNormal(tuple(event_shape)), UniformDequantization(levels))
