"""Mode coverage of samples from a known mixture.

The metrics depend on the number of samples: N samples of the true distribution over K modes have an estimated
divergence
of about (K - 1) / (2 N) nats, and miss a mode of probability p with probability (1 - p)^N. Compare only equal N.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax.scipy.special import rel_entr

from jaxgen.arguments import as_arrays, as_integers, check_counts, check_finite, check_number, check_range, check_values
from jaxgen.contracts import Array
from jaxgen.metrics.distances import sample_distances


def mode_coverage(
    samples: Array, centers: Array | Sequence[Sequence[float]], std: float, radius: float = 3.0, fair: float = 0.25
) -> dict[str, Array]:
    """Coverage of a mixture of equally likely isotropic normals with standard deviation `std`.

    Samples within `radius` standard deviations of the nearest center are high-quality, in two dimensions 98.9 % of the
    mixture's own. Srivastava et al. 2017 (VEEGAN); Lin et al. 2018 (PacGAN).

    Args:
        samples: [N, D].
        centers: [K, D].
        fair: a fair mode has at least this fraction of N / K high-quality samples.

    Returns:
        `high_quality`: fraction of high-quality samples; `modes`: number of modes with at least one; `fair_modes`:
        number of fair modes; `reverse_kl`: `reverse_kl_of_modes` of all samples.
    """
    check_number("std", std, 0, above=True)
    check_number("radius", radius, 0)
    check_number("fair", fair, 0, 1)
    samples, centers = _checked(samples, centers)
    squared = _squared_distances(samples, centers)
    high_quality = squared.min(1) <= (radius * std) ** 2
    per_mode = jnp.zeros(centers.shape[0]).at[squared.argmin(1)].add(high_quality)
    return {
        "high_quality": high_quality.mean(),
        "modes": (per_mode > 0).sum(),
        "fair_modes": (per_mode >= fair * samples.shape[0] / centers.shape[0]).sum(),
        "reverse_kl": reverse_kl_of_modes(samples, centers),
    }


def majority_modes(
    samples: Array, labels: Array, num_labels: int, centers: Array | Sequence[Sequence[float]]
) -> Array:
    """The mode to which most samples of each label are nearest, integers [num_labels]; -1 for labels without samples.

    Args:
        samples: [N, D].
        labels: integers [N] in 0..num_labels-1, for example the modes from which the samples were translated.
        centers: [K, D].
    """
    check_counts(num_labels=num_labels)
    samples, centers = _checked(samples, centers)
    labels = as_integers("N", {"N": samples.shape[0]}, labels=labels)
    check_range("labels", labels, 0, num_labels - 1, whole=True)
    nearest = _squared_distances(samples, centers).argmin(1)
    counts = jnp.zeros((num_labels, centers.shape[0]), jnp.int32).at[labels, nearest].add(1)
    return jnp.where(counts.sum(1) > 0, counts.argmax(1), -1)


def mode_collisions(
    samples: Array, labels: Array, num_labels: int, centers: Array | Sequence[Sequence[float]]
) -> Array:
    """The number of pairs of labels with the same majority mode (`majority_modes`), a scalar; zero if all differ.

    Kim et al. 2017 ("DiscoGAN"), section 3.1, show such collisions of translated modes.
    """
    modes = majority_modes(samples, labels, num_labels, centers)
    equal = (modes[:, None] == modes) & (modes >= 0)
    return (equal.sum() - (modes >= 0).sum()) // 2


def reverse_kl_of_modes(
    samples: Array, centers: Array | Sequence[Sequence[float]], probabilities: Array | None = None
) -> Array:
    """KL(q || p) in nats, a scalar: q the fractions of samples nearest to each center, p the true probabilities.

    All samples count, of any quality. The reverse divergence stays finite if modes are missed: uniform over m of K
    equal modes it is log(K / m). Lin et al. 2018, "PacGAN: The power of two samples in generative adversarial
    networks", table 1.

    Args:
        samples: [N, D].
        centers: [K, D].
        probabilities: p, [K]; None: equal.
    """
    samples, centers = _checked(samples, centers)
    if probabilities is not None:
        probabilities, _ = as_arrays("K", "K D", probabilities=probabilities, centers=centers)
        check_finite(probabilities=probabilities)
    return _reverse_kl(_squared_distances(samples, centers).argmin(1), centers.shape[0], probabilities)


def stacked_modes(labels: Array, reference: Array | None = None, num_classes: int = 10) -> dict[str, Array]:
    """The metrics of stacked MNIST: coverage of the num_classes^3 combinations of three stacked digits.

    Srivastava et al. 2017 (VEEGAN); Lin et al. 2018 (PacGAN), table 2, with 26,000 samples, for which true samples have
    a divergence of 0.02.

    Args:
        labels: integers [N, 3], a classifier's labels of the samples' channels.
        reference: labels [M, 3] of the training examples; None: all combinations are equally likely.

    Returns:
        `modes`: combinations with at least one sample; `reverse_kl`: KL(samples || reference) in nats, infinite if a
        sample's combination is not in the reference.
    """
    check_counts(num_classes=num_classes)
    count = num_classes**3

    def index(**labels: Array) -> Array:
        (name,) = labels
        label = as_integers("N C", {"C": 3}, **labels).astype(jnp.int32)
        check_values(lambda c: (c >= 0) & (c < num_classes), f"integers 0..{num_classes - 1}", **{name: label})
        return (label[:, 0] * num_classes + label[:, 1]) * num_classes + label[:, 2]

    modes = index(labels=labels)
    probabilities = None if reference is None else _fractions(index(reference=reference), count)
    return {"modes": (_fractions(modes, count) > 0).sum(), "reverse_kl": _reverse_kl(modes, count, probabilities)}


def _checked(samples: Array, centers: Any) -> tuple[Array, Array]:
    samples, centers = as_arrays("N D", "K D", samples=samples, centers=centers)
    check_finite(samples=samples, centers=centers)
    return samples, centers.astype(samples.dtype)


def _squared_distances(samples: Array, centers: Array) -> Array:
    """[N, K]."""
    return ((samples[:, None] - centers[None]) ** 2).sum(-1)


def _fractions(modes: Array, count: int) -> Array:
    return jnp.zeros(count).at[modes].add(1) / modes.shape[0]


def _reverse_kl(modes: Array, count: int, probabilities: Array | None) -> Array:
    p = jnp.full(count, 1 / count) if probabilities is None else jnp.asarray(probabilities)
    return rel_entr(_fractions(modes, count), p).sum()


def mixture_metrics(
    real: Array, fake: Array, centers: Array | Sequence[Sequence[float]], std: float
) -> dict[str, Array]:
    """`mode_coverage` of `fake` and its `sample_distances` from `real`: the metrics of GANs on known mixtures."""
    as_arrays("N D", "M D", "K D", real=real, fake=fake, centers=centers)
    return {**sample_distances(real, fake), **mode_coverage(fake, centers, std)}
