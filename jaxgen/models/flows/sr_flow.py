"""SRFlow (Lugmayr, Danelljan, Van Gool and Timofte 2020, "SRFlow: Learning the Super-Resolution Space with Normalizing
Flow", arXiv:2006.14200): the density p(y | x) of a high-resolution image y given its low resolution x.

An encoder g of residual-in-residual dense blocks computes features u = g(x), with those of several blocks stacked. They
condition each step of a Glow, from data to latents: ActNorm, an invertible 1x1 convolution, an affine injector and a
conditional affine coupling,

    h' = (h + t(u)) exp(s(u)),
    z_a = h'_a,    z_b = (h'_b + t(h'_a, u)) exp(s(h'_a, u)).

Each scale squeezes 2 x 2 pixels into channels, applies two transition steps without affine layers (ActNorm and 1x1
convolution), then `depth` steps, and passes the first half of the channels to the next scale; the other half is normal
with moments from the first and u. The last scale's latents are standard normal. Samples are drawn at a temperature
("heat") of about 0.9, `Flow.sample(..., temperature=0.9)`.

The authors' code has scales `sigmoid(a + 2) + 1e-4`, below 1 in every layer, whose products can vanish, so that samples
become infinite; here log-scales are bounded on both sides. Its loss in bits divides by H W without the channels, and so
does its constant for the dequantization; `bits_per_dim` counts all H W C dimensions.
"""

from __future__ import annotations

from typing import Any

from flax import linen as nn

from jaxgen.arguments import check_counts, check_shape
from jaxgen.bijectors import (
    ActNorm, Affine, AffineInjector, Bijector, Chain, Coupling, Invert, InvertibleLinear, Repeat, Squeeze, TanhAffine,
    factor_out,
)
from jaxgen.distributions.dequantization import UniformDequantization
from jaxgen.distributions.normal import StandardNormal
from jaxgen.models.flows.flow import Flow
from jaxgen.nets.conv_net import ConvNet
from jaxgen.nets.rrdb import RRDBEncoder


def sr_flow(
    event_shape: tuple[int, int, int],
    *,
    num_levels: int = 256,
    num_scales: int = 3,
    depth: int = 16,
    width: int = 64,
    encoder: nn.Module = RRDBEncoder(),
    transition_steps: int = 2,
    injectors: bool = True,
    transformer: Any = TanhAffine(),
    preprocess: Bijector = Affine(-0.5),
    gradient: str = "store",
) -> Flow:
    """A flow over integer images [B, H, W, C] with a context [B, h, w, c], their low resolution, scaled to [-1, 1].

    The defaults are the paper's for a factor of 4; for 8 it has 4 scales.

    Args:
        event_shape: height, width (both divisible by 2 ** num_scales) and channels.
        num_levels: number of grey levels.
        num_scales: number of resolutions.
        depth: steps per scale.
        width: channels of the two hidden layers of each coupling and injector.
        encoder: g, the player "encoder" (`Flow.encoder`).
        transition_steps: steps without affine layers after each squeeze.
        injectors: whether steps have affine injectors.
        transformer: the elementwise map of couplings and injectors; `SigmoidAffine()` is close to the authors' code.
        preprocess: from pixels in [0, 1] to the flow's inputs; `Logit(0.05)` for images with many pixels at the limits.
        gradient: "store", "rematerialize" or "reverse" (see `Repeat`).

    Raises:
        ValueError: a count below 1 (for `transition_steps`, below 0).
    """
    check_shape(event_shape)
    check_counts(num_levels=num_levels, num_scales=num_scales, depth=depth, width=width)
    check_counts(0, transition_steps=transition_steps)

    def network() -> ConvNet:
        return ConvNet((width, width))

    def scale(remaining: int) -> Bijector:
        transition = [Repeat(Chain((ActNorm(), InvertibleLinear())), transition_steps)] if transition_steps else []
        injector = [AffineInjector(network(), transformer)] if injectors else []
        step = Chain((ActNorm(), InvertibleLinear(), *injector, Coupling(transformer, network())))
        rest = [factor_out(scale(remaining - 1), ConvNet((), ()))] if remaining > 1 else []
        return Chain((Squeeze(), *transition, Repeat(step, depth, gradient), *rest, Invert(Squeeze())))

    bijector = Chain((preprocess, scale(num_scales)))
    return Flow(bijector, StandardNormal(tuple(event_shape)), UniformDequantization(num_levels), encoder)
