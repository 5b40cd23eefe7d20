"""Vector quantization: vectors are replaced by the nearest of K learned codes (van den Oord et al. 2017).

An encoder's outputs z_e [B, ..., D], a vector per position, are replaced by e [B, ..., D], the nearest codes of a
codebook [K, D]. Compute both losses from z_e and e, not from `straight_through(z_e, e)`, through which no gradient
reaches the codebook.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from jaxgen.arguments import as_arrays, as_integers, check_number, check_range
from jaxgen.contracts import Array, Key
from jaxgen.losses.squared_distance import squared_distance


def nearest_codes(z_e: Array, codebook: Array) -> Array:
    """The index of the nearest code of `codebook` [K, D] in Euclidean distance: [..., D] to int32 [...]."""
    (codebook,), (z_e,) = as_arrays("K D", codebook=codebook), as_arrays("*", z_e=z_e)
    _require_dimension(z_e, codebook.shape[1])
    # relative to the codebook's mean: far from the origin |e|^2 / 2 - z e would lose precision
    middle = codebook.mean(0)
    z, e = z_e - middle, codebook - middle
    return jnp.argmin((e**2).sum(-1) / 2 - jnp.matmul(z, e.T, precision="highest"), -1)


def codebook_loss(z_e: Array, e: Array) -> Array:
    """`E |sg[z_e] - e|^2`, a scalar, summed over each event: moves the codes to the encoder's outputs.

    Van den Oord et al. 2017, "Neural Discrete Representation Learning", equation 3, second term, with weight one.

    Args:
        z_e, e: [B, ..., D], the encoder's outputs and their codes.
    """
    z_e, e = as_arrays("B ...", z_e=z_e, e=e)
    return squared_distance(lax.stop_gradient(z_e), e)


def commitment_loss(z_e: Array, e: Array) -> Array:
    """`E |z_e - sg[e]|^2`, a scalar, summed over each event: keeps the encoder's outputs near their codes.

    Van den Oord et al. 2017, equation 3, third term; beta, 0.25 there, is the weight of this term.

    Args:
        z_e, e: [B, ..., D], the encoder's outputs and their codes.
    """
    z_e, e = as_arrays("B ...", z_e=z_e, e=e)
    return squared_distance(z_e, lax.stop_gradient(e))


def straight_through(z_e: Array, e: Array) -> Array:
    """The value of e, exactly, with the gradient of z_e: the decoder's input."""
    z_e, e = as_arrays("...", z_e=z_e, e=e)
    return lax.stop_gradient(e) + (z_e - lax.stop_gradient(z_e))


def update_averages(
    counts: Array, sums: Array, z_e: Array, codes: Array, decay: float = 0.99
) -> tuple[Array, Array]:
    """Moving averages of the usage of each code and of the sum of the vectors assigned to it.

    `N_k <- decay N_k + (1 - decay) n_k`, `m_k <- decay m_k + (1 - decay) sum_(i: code i is k) z_i`. Van den Oord et al.
    2017, appendix A.1, equations 6 and 7; it replaces `codebook_loss`.

    Args:
        counts: [K], N, in vectors per batch.
        sums: [K, D], m.
        z_e: [..., D].
        codes: [...], integers 0..K-1. Traced codes are not checked: others are ignored.

    Returns:
        The new counts and sums.

    Raises:
        ValueError: other shapes, or concrete codes other than 0..K-1.
    """
    check_number("decay", decay, 0, 1)
    (counts, sums), (z_e,) = as_arrays("K", "K D", counts=counts, sums=sums), as_arrays("*", z_e=z_e)
    _require_dimension(z_e, sums.shape[1])
    codes = as_integers("...", {"...": z_e.shape[:-1]}, codes=codes)
    check_range("codes", codes, 0, counts.shape[0] - 1, whole=True)
    z = lax.stop_gradient(z_e).reshape(-1, z_e.shape[-1]).astype(sums.dtype)
    member = jax.nn.one_hot(codes.reshape(-1), len(counts), dtype=sums.dtype)
    total = jnp.matmul(member.T, z, precision="highest")
    return decay * counts + (1 - decay) * member.sum(0), decay * sums + (1 - decay) * total


def averaged_codebook(counts: Array, sums: Array, smoothing: float = 1e-5) -> Array:
    """The codes from the averages of `update_averages`: m_k over the Laplace-smoothed N_k, [K, D].

    The smoothed counts, `N (N_k + s) / (N + K s)` with N the sum of the N_k, are positive.
    """
    check_number("smoothing", smoothing, 0)
    counts, sums = as_arrays("K", "K D", counts=counts, sums=sums)
    total = counts.sum()
    smoothed = total * (counts + smoothing) / (total + len(counts) * smoothing)
    return sums / smoothed[:, None]


def restart_dead_codes(
    counts: Array, sums: Array, z_e: Array, key: Key, threshold: float = 0.05
) -> tuple[Array, Array]:
    """Moves rarely used codes to random outputs of the encoder, as in Jukebox.

    A restarted code gets the lowest usage that is not restarted, so it moves again unless the next batch uses it.
    Dhariwal et al. 2020, "Jukebox: A Generative Model for Music", section 3.1.

    Args:
        counts: [K], the average usage; sums: [K, D].
        z_e: [..., D].
        threshold: as a fraction of the mean of `counts`.

    Returns:
        The new counts and sums.
    """
    (counts, sums), (z_e,) = as_arrays("K", "K D", counts=counts, sums=sums), as_arrays("*", z_e=z_e)
    _require_dimension(z_e, sums.shape[1])
    z = lax.stop_gradient(z_e).reshape(-1, z_e.shape[-1])
    least = threshold * counts.mean()
    candidates = z[jax.random.choice(key, len(z), (len(counts),), replace=len(z) < len(counts))]
    dead = counts < least
    return jnp.where(dead, least, counts), jnp.where(dead[:, None], least * candidates, sums)


def k_means(key: Key, points: Array, k: int, iterations: int = 10) -> Array:
    """Lloyd's algorithm, initialised with k random points of [N, D]: centres [k, D].

    Centres without points do not move; with fewer than k points some initial centres coincide.
    """
    check_number("k", k, 1)
    (points,) = as_arrays("N D", points=points)
    start = points[jax.random.choice(key, len(points), (k,), replace=len(points) < k)]

    def move(_, centres):
        member = jax.nn.one_hot(nearest_codes(points, centres), k, dtype=points.dtype)
        sizes = member.sum(0)[:, None]
        means = jnp.matmul(member.T, points, precision="highest") / jnp.maximum(sizes, 1)
        return jnp.where(sizes > 0, means, centres)

    return lax.fori_loop(0, iterations, move, start)


def perplexity(counts: Array) -> Array:
    """`exp(-sum_k p_k log p_k)` with p the fractions of counts [K]: the effective number of codes in use, a scalar.

    It is at most the number of counted positions: count over a whole split.
    """
    (counts,) = as_arrays("K", counts=counts)
    total = counts.sum()
    p = counts / jnp.where(total == 0, 1, total)  # without counts the result is 1
    return jnp.exp(-jax.scipy.special.xlogy(p, p).sum())


def _require_dimension(z_e: Array, dimension: int) -> None:
    if z_e.ndim == 0 or z_e.shape[-1] != dimension:
        raise ValueError(f"`z_e` must be [..., D] with the codebook's D={dimension}, got shape {z_e.shape}")
