"""Which modes of a known mixture a sample has found.

A few samples cannot show that all modes have their shares: with N samples of the true distribution over K modes, an
estimated divergence is about (K - 1) / (2 N) nats rather than zero, and a mode of share s is missed with probability
(1 - s)^N. Figures of different numbers of samples do not compare.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax.scipy.special import rel_entr

from jaxgen.arguments import arrays, check_finite, check_values, counts, integers, number
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
        with at least `fair` of their share; `reverse_kl`: `reverse_kl_of_modes`, of all samples.
    """
    number("std", std, 0, above=True)
    number("radius", radius, 0)
    number("fair", fair, 0, 1)
    samples, centers = _checked(samples, centers)
    squared = _squared_distances(samples, centers)
    good = squared.min(1) <= (radius * std) ** 2
    counts = jnp.zeros(centers.shape[0]).at[squared.argmin(1)].add(good)
    return {
        "high_quality": good.mean(),
        "modes": (counts > 0).sum(),
        "fair_modes": (counts >= fair * samples.shape[0] / centers.shape[0]).sum(),
        "reverse_kl": reverse_kl_of_modes(samples, centers),
    }


def reverse_kl_of_modes(
    samples: Array, centers: Array | Sequence[Sequence[float]], shares: Array | None = None
) -> Array:
    """KL(q || p) in nats, a scalar: q the samples' shares of the modes, each at its nearest center, p the true shares.

    Whatever their quality, all samples count. With m of K equal modes found and equally so it is log(K / m). It is the
    reverse one, KL of the model from the data, which stays finite where modes are missed. Lin et al. 2018, "PacGAN: The
    power of two samples in generative adversarial networks", table 1.

    Args:
        samples: [N, D].
        centers: [K, D].
        shares: p, [K]; None for equal ones.
    """
    samples, centers = _checked(samples, centers)
    if shares is not None:
        shares, _ = arrays("K", "K D", shares=shares, centers=centers)
        check_finite(shares=shares)
    return _reverse_kl(_squared_distances(samples, centers).argmin(1), centers.shape[0], shares)


def stacked_modes(labels: Array, reference: Array | None = None, classes: int = 10) -> dict[str, Array]:
    """How many of the classes^3 combinations of three stacked digits occur, and how evenly: stacked MNIST's figures.

    Srivastava et al. 2017 (VEEGAN) and Lin et al. 2018 (PacGAN), table 2, on 26,000 samples, of which even the truth's
    own have a divergence of 0.02.

    Args:
        labels: integers [N, 3], a classifier's of each channel of the samples.
        reference: labels [M, 3] of the training rows, whose shares are the true ones; None for equal shares.

    Returns:
        `modes`: combinations with at least one sample; `reverse_kl`: KL(samples || reference) in nats, infinite where a
        sample has a combination that the reference lacks.
    """
    counts(classes=classes)
    count = classes**3

    def index(**labels: Array) -> Array:
        ((name, rows),) = labels.items()
        rows = integers("N C", {"C": 3}, **labels).astype(jnp.int32)
        check_values(lambda rows: (rows >= 0) & (rows < classes), f"integers 0..{classes - 1}", **{name: rows})
        return (rows[:, 0] * classes + rows[:, 1]) * classes + rows[:, 2]

    found = index(labels=labels)
    shares = None if reference is None else _shares(index(reference=reference), count)
    return {"modes": (_shares(found, count) > 0).sum(), "reverse_kl": _reverse_kl(found, count, shares)}


def _checked(samples: Array, centers: Any) -> tuple[Array, Array]:
    samples, centers = arrays("N D", "K D", samples=samples, centers=centers)
    check_finite(samples=samples, centers=centers)
    return samples, centers.astype(samples.dtype)


def _squared_distances(samples: Array, centers: Array) -> Array:
    """[N, K]."""
    return ((samples[:, None] - centers[None]) ** 2).sum(-1)


def _shares(modes: Array, count: int) -> Array:
    return jnp.zeros(count).at[modes].add(1) / modes.shape[0]


def _reverse_kl(modes: Array, count: int, shares: Array | None) -> Array:
    return rel_entr(_shares(modes, count), jnp.full(count, 1 / count) if shares is None else jnp.asarray(shares)).sum()


def mixture_metrics(
    real: Array, fake: Array, centers: Array | Sequence[Sequence[float]], std: float
) -> dict[str, Array]:
    """`mode_coverage` of `fake` and its distances from `real`: what a GAN trained on a known mixture reports."""
    arrays("N D", "M D", "K D", real=real, fake=fake, centers=centers)
    return {**sample_distances(real, fake), **mode_coverage(fake, centers, std)}
