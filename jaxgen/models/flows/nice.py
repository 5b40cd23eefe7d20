"""NICE (Dinh, Krueger and Bengio 2015, "Non-linear Independent Components Estimation", arXiv:1410.8516).

The event is split in its even and odd coordinates, which take turns in moving by what a network makes of the others,

    z_odd = x_odd,    z_even = x_even + m(x_odd),    log|det dz/dx| = 0,

and a last layer scales each coordinate, `z <- exp(s) z`, `log|det| = sum s`: a standard base after it is a base of
scales `sigma = exp(-s)`, whose spectrum tells how many dimensions the data vary in (section 5.2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax.numpy as jnp

from jaxgen.arguments import counts, shape
from jaxgen.bijectors import Additive, Chain, Coupling, Invert, Permute, Reshape, Scale
from jaxgen.contracts import Array, Variables
from jaxgen.distributions.dequantization import UniformDequantization
from jaxgen.distributions.logistic import Logistic
from jaxgen.distributions.standard import StandardDistribution
from jaxgen.models.flows.flow import Flow
from jaxgen.nets.mlp import MLP


def nice(
    event_shape: Sequence[int],
    levels: int | None = 256,
    couplings: int = 4,
    widths: Sequence[int] = (1000,) * 5,
    *,
    base: type[StandardDistribution] = Logistic,
) -> Flow:
    """A flow over events of any shape with an even number of coordinates, with a context [B, K] or without.

    The defaults are the paper's for MNIST: 19,158,352 parameters. Data are integers scaled to [0, 1), or real numbers.

    Args:
        event_shape: of the data.
        levels: number of grey levels; None for continuous data.
        couplings: additive couplings, in turns over both halves.
        widths: hidden layers of each coupling's network.
        base: the density of the latents, `Logistic` or `StandardNormal`.

    Raises:
        ValueError: an odd number of coordinates.
    """
    shape(event_shape)
    counts(couplings=couplings, widths=widths)
    event_shape, size = tuple(event_shape), math.prod(event_shape)
    if size % 2:
        raise ValueError(f"NICE splits the event in halves: {event_shape} has an odd number of coordinates.")
    halves = Chain((Reshape(event_shape, (size,)), Permute("parity")))
    layers = [Coupling(Additive(), MLP(tuple(widths)), flip=bool(i % 2)) for i in range(couplings)]
    bijector = Chain((halves, *layers, Invert(halves.copy()), Scale()))
    return Flow(bijector, base(event_shape), None if levels is None else UniformDequantization(levels))


def sigmas(variables: Variables) -> Array:
    """The prior's learned scales `exp(-s)`, of the event's shape: the scale layer read as a base of its own widths."""
    (scale,) = (layer for layer in variables["flow"]["params"].values() if "log_scale" in layer)
    return jnp.exp(-scale["log_scale"])
