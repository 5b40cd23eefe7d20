"""NICE (Dinh, Krueger and Bengio 2015, "Non-linear Independent Components Estimation", arXiv:1410.8516).

Additive couplings, here from data to latents, transform the even and the odd coordinates alternately,

    z_odd = x_odd,    z_even = x_even + m(x_odd),    log|det dz/dx| = 0,

and a last layer scales each coordinate, `z <- exp(s) z`, `log|det| = sum s`: it gives the standard base the scales
`sigma = exp(-s)`, whose spectrum shows the number of dimensions in which the data vary (section 5.2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax.numpy as jnp

from jaxgen.arguments import check_counts, check_shape
from jaxgen.bijectors import Additive, Chain, Coupling, Invert, Permute, Reshape, Scale
from jaxgen.contracts import Array, Variables
from jaxgen.distributions.dequantization import UniformDequantization
from jaxgen.distributions.logistic import Logistic
from jaxgen.distributions.standard import StandardDistribution
from jaxgen.models.flows.flow import Flow
from jaxgen.nets.mlp import MLP


def nice(
    event_shape: Sequence[int],
    *,
    num_levels: int | None = 256,
    couplings: int = 4,
    widths: Sequence[int] = (1000,) * 5,
    base: type[StandardDistribution] = Logistic,
) -> Flow:
    """A flow over events of any shape with an even number of coordinates, with an optional context [B, K].

    The defaults are the paper's for MNIST: 19,158,352 parameters.

    Args:
        num_levels: number of grey levels of integer data; None for continuous data.
        couplings: number of additive couplings, over alternating halves.
        widths: units of the hidden layers of each coupling's network.
        base: the class of the latents' density, `Logistic` or `StandardNormal`.

    Raises:
        ValueError: an odd number of coordinates, or a count below 1.
    """
    check_shape(event_shape)
    check_counts(couplings=couplings, widths=widths)
    event_shape, size = tuple(event_shape), math.prod(event_shape)
    if size % 2:
        raise ValueError(f"`event_shape` must have an even number of coordinates, got {event_shape}")
    halves = Chain((Reshape(event_shape, (size,)), Permute("parity")))
    layers = [Coupling(Additive(), MLP(tuple(widths)), flip=bool(i % 2)) for i in range(couplings)]
    bijector = Chain((halves, *layers, Invert(halves.copy()), Scale()))
    return Flow(bijector, base(event_shape), None if num_levels is None else UniformDequantization(num_levels))


def sigmas(variables: Variables) -> Array:
    """The learned scales `exp(-s)` of the base, [*event]."""
    (scale,) = (layer for layer in variables["flow"]["params"].values() if "log_scale" in layer)
    return jnp.exp(-scale["log_scale"])
