"""Data as encoders see them and as likelihoods rate them."""

from __future__ import annotations

from jaxgen.arguments import as_real
from jaxgen.contracts import Array
from jaxgen.distributions.likelihoods import Likelihood
from jaxgen.models.scaling import from_data, to_data


def check_levels(likelihood: Likelihood, levels: int | None) -> None:
    """Raises:
    ValueError: the likelihood has other levels than the model.
    """
    if likelihood.levels not in (None, levels):
        raise ValueError(f"`levels` must be those of the likelihood, {likelihood.levels}, got {levels}")


def observe(x: Array, event_shape: tuple[int, ...], likelihood: Likelihood, levels: int | None) -> tuple[Array, Array]:
    """Data for the encoder, integers on [0, 1], and for the likelihood: the same, or integers if it has levels."""
    x = as_real("x", x)
    seen = from_data(x, event_shape, levels)
    return seen, seen if likelihood.levels is None else x


def data_units(y: Array, likelihood: Likelihood, levels: int | None) -> Array:
    """The likelihood's samples and means, in data units."""
    return to_data(y, levels, high=1.0 if likelihood.levels is None else levels - 1)
