"""Neural spline flows (Durkan, Bekasov, Murray and Papamakarios 2019, arXiv:1906.04032).

Each coordinate is mapped, from data to latents, by a monotone rational-quadratic spline on [-bound, bound] (outside,
the identity) whose knots and slopes a network computes from the other half (coupling, "RQ-NSF (C)") or from the
previous coordinates (autoregressive, "RQ-NSF (AR)"). A learned linear map in PLU form mixes the coordinates before each
spline (section 4.1).
"""

from __future__ import annotations

from collections.abc import Callable

from jaxgen.arguments import check_counts
from jaxgen.bijectors import (
    ActNorm, Bijector, Chain, Coupling, InvertibleLinear, MaskedAutoregressive, RationalQuadraticSpline, Repeat,
)
from jaxgen.distributions.normal import StandardNormal
from jaxgen.models.flows.flow import Flow
from jaxgen.models.flows.glow import glow
from jaxgen.nets.mlp import ResidualMLP


def neural_spline_coupling(
    features: int,
    *,
    depth: int = 10,
    width: int = 128,
    blocks: int = 2,
    bins: int = 8,
    bound: float = 3.0,
    dropout: float = 0.0,
    norm: Callable[[], Bijector] = ActNorm,
) -> Flow:
    """RQ-NSF (C) over vectors [B, features], with an optional context [B, K]; both directions are fast.

    Args:
        depth: number of steps (normalisation, linear map, spline coupling).
        width, blocks, dropout: of each coupling's residual network.
        bins, bound: of the splines; most data should lie in [-bound, bound].
        norm: the class of the normalisation before each step, `ActNorm` or `BatchNorm`.

    Raises:
        ValueError: a count below 1 (for `blocks`, below 0).
    """
    check_counts(width=width)
    check_counts(0, blocks=blocks)
    network = ResidualMLP(width, blocks, dropout)
    return _vectors(features, Coupling(RationalQuadraticSpline(bins, bound), network), depth, norm)


def neural_spline_autoregressive(
    features: int,
    *,
    depth: int = 10,
    widths: tuple[int, ...] = (256, 256),
    bins: int = 8,
    bound: float = 3.0,
    norm: Callable[[], Bijector] = ActNorm,
) -> Flow:
    """RQ-NSF (AR) over vectors [B, features], with an optional context [B, K]; fast to evaluate, slower to sample.

    Args:
        depth: number of steps (normalisation, linear map, autoregressive spline).
        widths: units of the hidden layers of each masked network.
        bins, bound, norm: as in `neural_spline_coupling`.

    Raises:
        ValueError: a count below 1.
    """
    check_counts(widths=widths)
    return _vectors(features, MaskedAutoregressive(RationalQuadraticSpline(bins, bound), tuple(widths)), depth, norm)


def neural_spline_image(
    event_shape: tuple[int, int, int],
    *,
    num_levels: int = 256,
    num_scales: int = 3,
    depth: int = 7,
    width: int = 96,
    bins: int = 4,
    bound: float = 3.0,
) -> Flow:
    """RQ-NSF (C) over integer images [B, H, W, C]: `glow` with splines in its couplings (section 5.3)."""
    return glow(
        event_shape, num_levels=num_levels, num_scales=num_scales, depth=depth, width=width,
        transformer=RationalQuadraticSpline(bins, bound),
    )


def _vectors(features: int, spline: Bijector, depth: int, norm: Callable[[], Bijector]) -> Flow:
    check_counts(features=features, depth=depth)
    return Flow(Repeat(Chain((norm(), InvertibleLinear(), spline)), depth), StandardNormal((features,)))
