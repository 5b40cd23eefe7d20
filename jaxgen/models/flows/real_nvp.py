"""RealNVP (Dinh, Sohl-Dickstein and Bengio 2017, "Density estimation using Real NVP", arXiv:1605.08803).

An affine coupling keeps one part of the event and moves the other by what a network computes from the first,

    z_a = x_a,    z_b = (x_b + t(x_a)) exp(s(x_a)),    log|det dz/dx| = sum s(x_a),

with s bounded by a tanh. Its inverse needs no inverse of the network. Couplings take turns in which part they move.
For images, [0, 1) is mapped to the line by `logit(alpha + (1 - 2 alpha) x)`; each scale has couplings over a
checkerboard, squeezes 2 x 2 pixels into channels, has couplings over halves of the channels, and hands the first half
of the channels to the next scale. The half that leaves has a learned conditional prior, `(z - mu(h)) / sigma(h)` with
h the half that goes on.

The paper's normalisation is `norm=BatchNorm`, its learned bound of s `transformer=LearnedTanhAffine()`; the
defaults, ActNorm and a fixed bound, are steadier.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jaxgen.arguments import counts, shape
from jaxgen.bijectors import (
    ActNorm,
    Bijector,
    Chain,
    Checkerboard,
    ConditionalNormal,
    Coupling,
    FirstHalf,
    Invert,
    Logit,
    Permute,
    Repeat,
    Squeeze,
    TanhAffine,
    factor_out,
)
from jaxgen.distributions.dequantization import UniformDequantization
from jaxgen.distributions.normal import StandardNormal
from jaxgen.models.flows.flow import Flow
from jaxgen.nets.convolutional import ConvNet
from jaxgen.nets.mlp import MLP
from jaxgen.nets.residual import ResNet


def real_nvp_vector(
    features: int,
    depth: int = 4,
    widths: Sequence[int] = (128, 128),
    *,
    permutation: Callable[[], Bijector] = Permute,
    transformer: Any = TanhAffine(),
    norm: Callable[[], Bijector] = ActNorm,
) -> Flow:
    """A flow over vectors [B, features], with a context [B, K] or without.

    Args:
        depth: pairs of couplings, each pair moving both halves.
        widths: hidden layers of each coupling's network.
        permutation: makes what mixes the features before each pair.
        transformer: what moves a coordinate.
        norm: makes the normalisation before each pair: `ActNorm` or `BatchNorm`.
    """
    counts(features=features, depth=depth, widths=widths)
    step = Chain((
        norm(),
        permutation(),
        Coupling(transformer, MLP(tuple(widths))),
        Coupling(transformer, MLP(tuple(widths)), flip=True),
    ))
    return Flow(Repeat(step, depth), StandardNormal((features,)))


def real_nvp_image(
    event_shape: tuple[int, int, int],
    levels: int = 256,
    scales: int = 2,
    depth: int = 2,
    width: int = 32,
    blocks: int = 1,
    *,
    alpha: float = 0.05,
    checkerboard: bool = True,
    learned_priors: bool = True,
    permutation: Callable[[], Bijector] | None = None,
    transformer: Any = TanhAffine(),
    norm: Callable[[], Bijector] = ActNorm,
) -> Flow:
    """A flow over integer images [B, H, W, C], with a context ([B, K] or [B, h, w, K]) or without.

    Args:
        event_shape: height, width (both divisible by 2 ** (scales - 1), or by 2 ** scales without checkerboards) and
            channels.
        levels: number of grey levels.
        scales: resolutions; the last one has a checkerboard only.
        depth: pairs of couplings over each kind of mask, in each scale.
        width, blocks: channels and residual blocks of each coupling's network.
        alpha: keeps the logit finite at the edges.
        checkerboard: False replaces the couplings over checkerboards by as many over channels, after the squeeze.
        learned_priors: what leaves a scale is normal with moments that a convolution computes from what goes on, and
            the last scale's are learned; False leaves it standard normal.
        permutation: makes what mixes the channels before each coupling over halves of them; None has the two
            couplings of a pair move one half each.
        transformer: what moves a coordinate.
        norm: makes the normalisation before each coupling: `ActNorm` or `BatchNorm`.
    """

    shape(event_shape)
    counts(scales=scales, depth=depth, width=width)
    counts(0, blocks=blocks)

    def coupling(mask: Any, flip: bool) -> tuple[Bijector, ...]:
        mixed = (permutation(),) if mask is None and permutation is not None else ()
        moved = Coupling(transformer, ResNet(width, blocks), mask, flip and not mixed)
        return (norm(), *mixed, moved)

    def couplings(mask: Any, pairs: int = depth) -> Repeat:
        return Repeat(Chain((*coupling(mask, False), *coupling(mask, True))), pairs)

    def scale(remaining: int) -> Bijector:
        squeezed = [] if remaining == 1 else [rest(scale(remaining - 1))]
        if remaining > 1 or not checkerboard:
            pairs = depth if checkerboard else (1 + (remaining > 1)) * depth
            squeezed = [Squeeze(), couplings(None, pairs), *squeezed, Invert(Squeeze())]
        top = [ConditionalNormal()] if remaining == 1 and learned_priors else []
        return Chain((*([couplings(Checkerboard())] if checkerboard else []), *squeezed, *top))

    def rest(inner: Bijector) -> Bijector:
        return factor_out(inner, ConvNet((), ())) if learned_priors else FirstHalf(inner)

    return Flow(Chain((Logit(alpha), scale(scales))), StandardNormal(event_shape), UniformDequantization(levels))
