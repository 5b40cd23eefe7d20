"""Losses of GANs whose critic is an energy: an autoencoder's reconstruction error, low on data. All are minimised.

Energies are nonnegative, [B]: a norm of `D(v) - v`, such as the mean over an example's values of its square, or in
BEGAN of its absolute value. The losses are scalars.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxgen.arguments import as_arrays
from jaxgen.contracts import Array


def energy_critic(real: Array, fake: Array, margin: float) -> Array:
    """E D(x) + E max(0, m - D(G(z))), which raises the energies of samples up to the margin m.

    Zhao et al. 2017, "Energy-based Generative Adversarial Networks", section 2.1.
    """
    real, fake = as_arrays("B", "R", real=real, fake=fake)
    return real.mean() + jax.nn.relu(margin - fake).mean()


def energy_generator(fake: Array) -> Array:
    """E D(G(z)), for EBGAN (Zhao et al. 2017, section 2.1) and BEGAN.

    The gradient flows through both G(z) in `|D(G(z)) - G(z)|`, also as the target of the reconstruction.
    """
    (fake,) = as_arrays("B", fake=fake)
    return fake.mean()


def pulling_away(features: Array) -> Array:
    """1 / (N (N - 1)) sum_(i != j) cos^2(S_i, S_j), a scalar, zero for orthogonal features.

    Zhao et al. 2017, section 2.4. Zero features count as orthogonal to all.

    Args:
        features: [N, F], the encoder's outputs S on generated examples.

    Raises:
        ValueError: fewer than two examples.
    """
    (features,) = as_arrays("N F", features=features)
    n = len(features)
    if n < 2:
        raise ValueError(f"`features` must have at least two examples, got {n}")
    squared = (features**2).sum(1, keepdims=True)
    directions = features * jax.lax.rsqrt(jnp.where(squared == 0, 1.0, squared))
    cosines = jnp.matmul(directions, directions.T, precision="highest")
    return (cosines**2).sum(where=~jnp.eye(n, dtype=bool)) / (n * (n - 1))


def equilibrium_critic(real: Array, fake: Array, k: Array) -> Array:
    """E L(x) - k E L(G(z)) (Berthelot et al. 2017, "BEGAN", section 3.4); the generator's loss is `energy_generator`.

    Args:
        real, fake: [B], the energies L.
        k: a scalar from `next_equilibrium`, initially zero.
    """
    real, fake = as_arrays("B", "R", real=real, fake=fake)
    return real.mean() - k * fake.mean()


def next_equilibrium(k: Array, real: Array, fake: Array, gamma: float = 0.5, rate: float = 1e-3) -> Array:
    """k <- k + rate (gamma E L(x) - E L(G(z))), clipped to [0, 1]: in equilibrium the ratio of energies is gamma.

    Berthelot et al. 2017, section 3.4. No gradient flows through it.

    Args:
        real, fake: [B], the energies L.
        gamma: lower values give better, less diverse images.
    """
    real, fake = as_arrays("B", "R", real=real, fake=fake)
    return jax.lax.stop_gradient(jnp.clip(k + rate * (gamma * real.mean() - fake.mean()), 0, 1))


def convergence_measure(real: Array, fake: Array, gamma: float = 0.5) -> Array:
    """E L(x) + |gamma E L(x) - E L(G(z))|, a metric that falls as a BEGAN converges.

    Berthelot et al. 2017, section 3.4.1.

    Args:
        real, fake: [B], the energies L.
    """
    real, fake = as_arrays("B", "R", real=real, fake=fake)
    return real.mean() + jnp.abs(gamma * real.mean() - fake.mean())
