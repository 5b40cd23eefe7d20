"""Masked autoregressive flow (Papamakarios, Pavlakou and Murray 2017, arXiv:1705.07057) and its inverse (Kingma et al.
2016, "Improving Variational Inference with Inverse Autoregressive Flow", arXiv:1606.04934).

A masked network computes the parameters of each coordinate from the previous ones,

    z_i = (x_i + t(x_1, ..., x_{i-1})) exp(s(x_1, ..., x_{i-1})),    log|det dz/dx| = sum_i s(x_1, ..., x_{i-1}),

in each layer, with the coordinates reversed between layers. `forward`, from data to latents, takes one pass of each
network: MAF is fast to evaluate, and samples coordinate by coordinate. IAF has inverted layers, whose networks read
latents: it is fast to sample and to evaluate its own samples, and slower to evaluate data.

Departures from the papers: a normalisation before each layer (ActNorm, or `norm=BatchNorm` as MAF has between its
layers) and a bound of s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from flax import linen as nn

from jaxgen.arguments import check_counts, check_shape
from jaxgen.bijectors import (
    ActNorm, Bijector, Chain, Invert, Logit, MaskedAutoregressive, Permute, Repeat, Reshape, TanhAffine,
)
from jaxgen.distributions.dequantization import UniformDequantization
from jaxgen.distributions.normal import StandardNormal
from jaxgen.models.flows.flow import Flow


def maf(
    features: int,
    *,
    depth: int = 5,
    widths: Sequence[int] = (512, 512),
    transformer: Any = TanhAffine(),
    activation: Callable = nn.relu,
    norm: Callable[[], Bijector] = ActNorm,
) -> Flow:
    """A flow over vectors [B, features], with an optional context [B, K]; fast to evaluate, slower to sample.

    Args:
        depth: number of autoregressive layers.
        widths: units of the hidden layers of each masked network.
        transformer: the elementwise map of the layers.
        activation: an elementwise function, after each hidden layer.
        norm: the class of the normalisation before each layer, `ActNorm` or `BatchNorm`.

    Raises:
        ValueError: a count below 1.
    """
    check_counts(features=features, depth=depth, widths=widths)
    layers = _stack(MaskedAutoregressive(transformer, tuple(widths), activation), depth, norm)
    return Flow(layers, StandardNormal((features,)))


def iaf(
    features: int,
    *,
    depth: int = 5,
    widths: Sequence[int] = (512, 512),
    transformer: Any = TanhAffine(),
    activation: Callable = nn.relu,
    norm: Callable[[], Bijector] = ActNorm,
) -> Flow:
    """A flow over vectors [B, features], with an optional context [B, K]; fast to sample, slower to evaluate.

    Arguments and errors are those of `maf`.
    """
    check_counts(features=features, depth=depth, widths=widths)
    layer = Invert(MaskedAutoregressive(transformer, tuple(widths), activation))
    return Flow(_stack(layer, depth, norm), StandardNormal((features,)))


def maf_image(
    event_shape: Sequence[int],
    *,
    num_levels: int = 256,
    depth: int = 5,
    widths: Sequence[int] = (1024,),
    alpha: float = 1e-6,
    transformer: Any = TanhAffine(),
    activation: Callable = nn.relu,
    norm: Callable[[], Bijector] = ActNorm,
) -> Flow:
    """A MAF over the logits of flattened integer images [B, H, W, C] (paper, section 4.3), with an optional context.

    Args:
        num_levels: number of grey levels.
        alpha: the logit's argument is alpha + (1 - 2 alpha) x: 1e-6 for MNIST, 0.05 for CIFAR-10.
        depth, widths, transformer, activation, norm: as in `maf`.

    Raises:
        ValueError: a count below 1.
    """
    check_shape(event_shape)
    check_counts(num_levels=num_levels, depth=depth, widths=widths)
    event_shape = tuple(event_shape)
    flat = Reshape(event_shape, (math.prod(event_shape),))
    layers = _stack(MaskedAutoregressive(transformer, tuple(widths), activation), depth, norm)
    bijector = Chain((Logit(alpha), flat, layers, Invert(flat.copy())))
    return Flow(bijector, StandardNormal(event_shape), UniformDequantization(num_levels))


def _stack(layer: Bijector, depth: int, norm: Callable[[], Bijector]) -> Bijector:
    return Repeat(Chain((norm(), layer, Permute("reverse"))), depth)
