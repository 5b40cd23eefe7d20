"""RealNVP (Dinh, Sohl-Dickstein and Bengio 2017, "Density estimation using Real NVP", arXiv:1605.08803).

An affine coupling keeps one part of the event and moves the other by what a network computes from the first,

    z_a = x_a,    z_b = (x_b + t(x_a)) exp(s(x_a)),    log|det dz/dx| = sum s(x_a),

with s bounded by a tanh. Its inverse needs no inverse of the network. Couplings take turns in which part they move.
For images, [0, 1) is mapped to the line by `logit(alpha + (1 - 2 alpha) x)`; each scale has couplings over a
checkerboard, squeezes 2 x 2 pixels into channels, has couplings over halves of the channels, and hands the first half
of the channels to the next scale.

Departures from the paper: ActNorm in place of batch normalisation, a fixed bound of s in place of a learned one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jaxgen.bijectors import (
    ActNorm,
    AffineTransformer,
    Bijector,
    Chain,
    Checkerboard,
    Coupling,
    Invert,
    Logit,
    OnHalf,
    Permute,
    Repeat,
    Squeeze,
)
from jaxgen.distributions.dequantization import UniformDequantization
from jaxgen.distributions.normal import Normal
from jaxgen.models.flows.flow import Flow
from jaxgen.nets.mlp import MLP
from jaxgen.nets.residual import ResNet


def real_nvp_vector(
    features: int,
    depth: int = 4,
    widths: Sequence[int] = (128, 128),
    *,
    transformer: Any = AffineTransformer(),
    norm: Callable[[], Bijector] = ActNorm,
) -> Flow:
    """A flow over vectors [B, features], with a context [B, K] or without.

    Args:
        depth: pairs of couplings, each pair moving both halves.
        widths: hidden layers of each coupling's network.
        transformer: what moves a coordinate.
        norm: makes the normalisation before each pair.
    """
    step = Chain((
        norm(),
        Permute("random"),
        Coupling(transformer, MLP(tuple(widths))),
        Coupling(transformer, MLP(tuple(widths)), flip=True),
    ))
    return Flow(Repeat(step, depth), Normal((features,)))


def real_nvp_image(
    event_shape: tuple[int, int, int],
    levels: int = 256,
    scales: int = 2,
    depth: int = 2,
    width: int = 32,
    blocks: int = 1,
    *,
    alpha: float = 0.05,
    transformer: Any = AffineTransformer(),
    norm: Callable[[], Bijector] = ActNorm,
) -> Flow:
    """A flow over integer images [B, H, W, C], with a context ([B, K] or [B, h, w, K]) or without.

    Args:
        event_shape: height, width (both divisible by 2 ** (scales - 1)) and channels.
        levels: number of grey levels.
        scales: resolutions; the last one has a checkerboard only.
        depth: pairs of couplings over each kind of mask, in each scale.
        width, blocks: channels and residual blocks of each coupling's network.
        alpha: keeps the logit finite at the edges.
        transformer: what moves a coordinate.
        norm: makes the normalisation before each coupling.
    """

    def couplings(mask: Any) -> Repeat:
        def coupling(flip: bool) -> Coupling:
            return Coupling(transformer, ResNet(width, blocks), mask, flip)

        return Repeat(Chain((norm(), coupling(False), norm(), coupling(True))), depth)

    def scale(remaining: int) -> Bijector:
        if remaining == 1:
            return couplings(Checkerboard())
        return Chain((
            couplings(Checkerboard()), Squeeze(), couplings(None), OnHalf(scale(remaining - 1)), Invert(Squeeze()),
        ))

    return Flow(Chain((Logit(alpha), scale(scales))), Normal(event_shape), UniformDequantization(levels))
