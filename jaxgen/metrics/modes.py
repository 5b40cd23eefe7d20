"""Which modes of a known mixture a sample has found."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp

from jaxgen.contracts import Array
from jaxgen.metrics.distances import sample_distances


def mode_coverage(
    samples: Array, centers: Array | Sequence[Sequence[float]], std: float, radius: float = 3.0, fair: float = 0.25
) -> dict[str, Array]:
    """How well samples cover a mixture of isotropic, equally likely normals of standard deviation `std`.

    A sample is of high quality within `radius` standard deviations of the nearest center; in two dimensions 98.9 % of
    the mixture's own samples are. Srivastava et al. 2017 (VEEGAN) and Lin et al. 2018 (PacGAN) count these.

    Args:
        samples: [N, D].
        centers: [K, D].
        fair: a mode counts as fairly covered with at least this part of N / K high-quality samples.

    Returns:
        `high_quality`: share of high-quality samples; `modes`: modes with at least one of them; `fair_modes`: modes
        with at least `fair` of their share.
    """
    centers = jnp.asarray(centers, samples.dtype)
    squared = ((samples[:, None] - centers[None]) ** 2).sum(-1)
    good = squared.min(1) <= (radius * std) ** 2
    counts = jnp.zeros(centers.shape[0]).at[squared.argmin(1)].add(good)
    return {
        "high_quality": good.mean(),
        "modes": (counts > 0).sum(),
        "fair_modes": (counts >= fair * samples.shape[0] / centers.shape[0]).sum(),
    }


def mixture_figures(
    real: Array, fake: Array, centers: Array | Sequence[Sequence[float]], std: float
) -> dict[str, Array]:
    """`mode_coverage` of `fake` and its distances from `real`: what a GAN trained on a known mixture reports."""
    return {**sample_distances(real, fake), **mode_coverage(fake, centers, std)}
