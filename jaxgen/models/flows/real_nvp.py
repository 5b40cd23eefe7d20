"""RealNVP (Dinh, Sohl-Dickstein and Bengio 2017, "Density estimation using Real NVP", arXiv:1605.08803).

An affine coupling, here from data to latents, keeps one part of the event and transforms the other,

    z_a = x_a,    z_b = (x_b + t(x_a)) exp(s(x_a)),    log|det dz/dx| = sum s(x_a),

with s bounded by a tanh. Its inverse does not invert the network. Couplings transform both parts alternately.
For images, [0, 1) is mapped to the real line by `logit(alpha + (1 - 2 alpha) x)`; each scale has couplings over a
checkerboard, squeezes 2 x 2 pixels into channels, has couplings over halves of the channels, and passes the first half
h of the channels to the next scale. The other half has a learned conditional prior, `(z - mu(h)) / sigma(h)`.

The paper's normalisation is `norm=BatchNorm`, its learned bound of s `transformer=LearnedTanhAffine()`; the
defaults, ActNorm and a fixed bound, are more stable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jaxgen.arguments import check_counts, check_shape
from jaxgen.bijectors import (
    ActNorm, Bijector, Chain, Checkerboard, ConditionalNormal, Coupling, FirstHalf, Invert, Logit, Permute, Repeat,
    Squeeze, TanhAffine, factor_out,
)
from jaxgen.distributions.dequantization import UniformDequantization
from jaxgen.distributions.normal import StandardNormal
from jaxgen.models.flows.flow import Flow
from jaxgen.nets.conv_net import ConvNet
from jaxgen.nets.mlp import MLP
from jaxgen.nets.residual import ResNet


def real_nvp_vector(
    features: int,
    *,
    depth: int = 4,
    widths: Sequence[int] = (128, 128),
    permutation: Callable[[], Bijector] = Permute,
    transformer: Any = TanhAffine(),
    norm: Callable[[], Bijector] = ActNorm,
) -> Flow:
    """A flow over vectors [B, features], with an optional context [B, K].

    Args:
        depth: number of pairs of couplings, one over each half.
        widths: units of the hidden layers of each coupling's network.
        permutation: constructs the bijector that mixes the features before each pair.
        transformer: the couplings' elementwise map.
        norm: the class of the normalisation before each pair, `ActNorm` or `BatchNorm`.

    Raises:
        ValueError: a count below 1.
    """
    check_counts(features=features, depth=depth, widths=widths)
    step = Chain((
        norm(),
        permutation(),
        Coupling(transformer, MLP(tuple(widths))),
        Coupling(transformer, MLP(tuple(widths)), flip=True),
    ))
    return Flow(Repeat(step, depth), StandardNormal((features,)))


def real_nvp_image(
    event_shape: tuple[int, int, int],
    *,
    num_levels: int = 256,
    num_scales: int = 2,
    depth: int = 2,
    width: int = 32,
    blocks: int = 1,
    alpha: float = 0.05,
    checkerboard: bool = True,
    learned_priors: bool = True,
    permutation: Callable[[], Bijector] | None = None,
    transformer: Any = TanhAffine(),
    norm: Callable[[], Bijector] = ActNorm,
) -> Flow:
    """A flow over integer images [B, H, W, C], with an optional context ([B, K] or [B, h, w, K]).

    Args:
        event_shape: height, width (both divisible by 2 ** (num_scales - 1), or by 2 ** num_scales without
            checkerboards) and channels.
        num_levels: number of grey levels.
        num_scales: number of resolutions; the last one has couplings over a checkerboard only.
        depth: pairs of couplings over each kind of mask, in each scale.
        width, blocks: channels and residual blocks of each coupling's network.
        alpha: the logit's argument is alpha + (1 - 2 alpha) x.
        checkerboard: False replaces the couplings over checkerboards by as many over channels, after the squeeze.
        learned_priors: the channels that are factored out are normal with moments that a convolution computes from the
            others, and the last scale's with learned moments; False: standard normal.
        permutation: constructs the bijector that mixes the channels before each coupling over halves of them; None: the
            two couplings of a pair transform one half each.
        transformer: the couplings' elementwise map.
        norm: the class of the normalisation before each coupling, `ActNorm` or `BatchNorm`.

    Raises:
        ValueError: a count below 1 (for `blocks`, below 0).
    """
    check_shape(event_shape)
    check_counts(num_levels=num_levels, num_scales=num_scales, depth=depth, width=width)
    check_counts(0, blocks=blocks)

    def coupling(mask: Any, flip: bool) -> tuple[Bijector, ...]:
        mixed = (permutation(),) if mask is None and permutation is not None else ()
        moved = Coupling(transformer, ResNet(width, blocks), mask, flip=flip and not mixed)
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

    bijector = Chain((Logit(alpha), scale(num_scales)))
    return Flow(bijector, StandardNormal(event_shape), UniformDequantization(num_levels))
