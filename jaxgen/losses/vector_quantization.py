"""Discrete codes: vectors replaced by the nearest of K learned ones, the codes (van den Oord et al. 2017).

An encoder's outputs z_e [B, ..., D], a vector at each position, are replaced by e [B, ..., D], the nearest rows of a
codebook [K, D]. Both losses are of these two, and `straight_through` comes after them: its value is e, and a loss of
what it returns instead of e would not move the codebook.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from jaxgen.arguments import arrays, check_range, integers, number
from jaxgen.contracts import Array, Key
from jaxgen.losses.squared_distance import squared_distance


def nearest_codes(z_e: Array, codebook: Array) -> Array:
    """The index of the row of `codebook` [K, D] at the least Euclidean distance: [..., D] to int32 [...]."""
    (codebook,), (z_e,) = arrays("K D", codebook=codebook), arrays("*", z_e=z_e)
    _require_dimension(z_e, codebook.shape[1])
    # distances from the codebook's mean: far from the origin |e|^2 / 2 - z e would lose the digits that decide
    middle = codebook.mean(0)
    z, e = z_e - middle, codebook - middle
    return jnp.argmin((e**2).sum(-1) / 2 - jnp.matmul(z, e.T, precision="highest"), -1)


def codebook_loss(z_e: Array, e: Array) -> Array:
    """`|sg[z_e] - e|^2`, which moves the codes to the encoder's outputs: summed over an event, the batch's mean.

    Van den Oord et al. 2017, "Neural Discrete Representation Learning", equation 3, second term, of weight one.

    Args:
        z_e, e: [B, ..., D], the encoder's outputs and their codes.

    Returns:
        A scalar.
    """
    z_e, e = arrays("B ...", z_e=z_e, e=e)
    return squared_distance(lax.stop_gradient(z_e), e)


def commitment_loss(z_e: Array, e: Array) -> Array:
    """`|z_e - sg[e]|^2`, which keeps the encoder's outputs near their codes: summed over an event, the batch's mean.

    Van den Oord et al. 2017, equation 3, third term; beta, 0.25 there, is its weight and not that of `codebook_loss`.

    Args:
        z_e, e: [B, ..., D], the encoder's outputs and their codes.

    Returns:
        A scalar.
    """
    z_e, e = arrays("B ...", z_e=z_e, e=e)
    return squared_distance(z_e, lax.stop_gradient(e))


def straight_through(z_e: Array, e: Array) -> Array:
    """e, exactly, with the gradient of z_e: what the decoder gets. Neither loss may be computed of it."""
    z_e, e = arrays("...", z_e=z_e, e=e)
    return lax.stop_gradient(e) + (z_e - lax.stop_gradient(z_e))


def update_averages(
    counts: Array, sums: Array, z_e: Array, codes: Array, decay: float = 0.99
) -> tuple[Array, Array]:
    """Moving averages of how often a code is used, and of the sum of the vectors that it stands for.

    `N_k <- decay N_k + (1 - decay) n_k`, `m_k <- decay m_k + (1 - decay) sum_(i: code i is k) z_i`. Van den Oord et al.
    2017, appendix A.1, equations 6 and 7; it takes the place of `codebook_loss`.

    Args:
        counts: [K], N in vectors a batch.
        sums: [K, D], m.
        z_e: [..., D].
        codes: [...], integers 0..K-1; others, where they are traced and cannot be refused, count for no code.

    Returns:
        The new counts and sums.

    Raises:
        ValueError: other shapes, or concrete codes other than 0..K-1.
    """
    number("decay", decay, 0, 1)
    (counts, sums), (z_e,) = arrays("K", "K D", counts=counts, sums=sums), arrays("*", z_e=z_e)
    _require_dimension(z_e, sums.shape[1])
    codes = integers("...", {"...": z_e.shape[:-1]}, codes=codes)
    check_range("codes", codes, 0, counts.shape[0] - 1, whole=True)
    z = lax.stop_gradient(z_e).reshape(-1, z_e.shape[-1]).astype(sums.dtype)
    member = jax.nn.one_hot(codes.reshape(-1), len(counts), dtype=sums.dtype)
    total = jnp.matmul(member.T, z, precision="highest")
    return decay * counts + (1 - decay) * member.sum(0), decay * sums + (1 - decay) * total


def averaged_codebook(counts: Array, sums: Array, smoothing: float = 1e-5) -> Array:
    """The codes that `update_averages` keeps: m_k over N_k with Laplace's smoothing, [K, D].

    `N (N_k + s) / (N + K s)`, N the sum of the N_k, is what m_k is divided by, so that no code is divided by zero.
    """
    number("smoothing", smoothing, 0)
    counts, sums = arrays("K", "K D", counts=counts, sums=sums)
    total = counts.sum()
    smoothed = total * (counts + smoothing) / (total + len(counts) * smoothing)
    return sums / smoothed[:, None]


def restart_dead_codes(
    counts: Array, sums: Array, z_e: Array, key: Key, threshold: float = 0.05
) -> tuple[Array, Array]:
    """Puts codes that are hardly used on outputs of the encoder, drawn from the batch, as Jukebox does.

    A restarted code has the least usage that is not restarted: unless the next batch uses it, it moves on.
    Dhariwal et al. 2020, "Jukebox: A Generative Model for Music", section 3.1.

    Args:
        counts: [K], the average usage; sums: [K, D].
        z_e: [..., D].
        threshold: as a share of the mean of `counts`.

    Returns:
        The new counts and sums.
    """
    (counts, sums), (z_e,) = arrays("K", "K D", counts=counts, sums=sums), arrays("*", z_e=z_e)
    _require_dimension(z_e, sums.shape[1])
    z = lax.stop_gradient(z_e).reshape(-1, z_e.shape[-1])
    least = threshold * counts.mean()
    drawn = z[jax.random.choice(key, len(z), (len(counts),), replace=len(z) < len(counts))]
    dead = counts < least
    return jnp.where(dead, least, counts), jnp.where(dead[:, None], least * drawn, sums)


def k_means(key: Key, points: Array, k: int, iterations: int = 10) -> Array:
    """Lloyd's algorithm from k of the points [N, D], drawn at random: centres [k, D].

    A centre that no point is nearest to stays where it is; with fewer than k points some centres start as the same.
    """
    number("k", k, 1)
    (points,) = arrays("N D", points=points)
    start = points[jax.random.choice(key, len(points), (k,), replace=len(points) < k)]

    def move(_, centres):
        member = jax.nn.one_hot(nearest_codes(points, centres), k, dtype=points.dtype)
        sizes = member.sum(0)[:, None]
        means = jnp.matmul(member.T, points, precision="highest") / jnp.maximum(sizes, 1)
        return jnp.where(sizes > 0, means, centres)

    return lax.fori_loop(0, iterations, move, start)


def perplexity(counts: Array) -> Array:
    """`exp(-sum_k p_k log p_k)` with p the shares of counts [K]: how many codes, used alike, would be as varied.

    It grows with what is counted: that of a batch is at most the number of its positions. Count over a whole split.
    """
    (counts,) = arrays("K", counts=counts)
    total = counts.sum()
    p = counts / jnp.where(total == 0, 1, total)  # nothing counted: one
    return jnp.exp(-jax.scipy.special.xlogy(p, p).sum())


def _require_dimension(z_e: Array, dimension: int) -> None:
    if z_e.ndim == 0 or z_e.shape[-1] != dimension:
        raise ValueError(f"z_e has shape {z_e.shape}: [..., D] with the codebook's D={dimension} is needed")
