"""Games whose critic gives energies: an autoencoder's errors of reconstruction, low on data. All are minimised.

Energies are [B], at least zero: any size of `D(v) - v`, as the mean over a row's values of its squares, or in BEGAN of
its absolute values.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxgen.arguments import arrays
from jaxgen.contracts import Array


def energy_critic(real: Array, fake: Array, margin: float) -> Array:
    """E D(x) + E max(0, m - D(G(z))): low energies for data, for samples at least the margin m.

    Zhao et al. 2017, "Energy-based Generative Adversarial Networks", section 2.1.
    """
    real, fake = arrays("B", "R", real=real, fake=fake)
    return real.mean() + jax.nn.relu(margin - fake).mean()


def energy_generator(fake: Array) -> Array:
    """E D(G(z)), of EBGAN (Zhao et al. 2017, section 2.1) and of BEGAN.

    The gradient goes through both places of G(z) in `|D(G(z)) - G(z)|`: as the target of the reconstruction too.
    """
    (fake,) = arrays("B", fake=fake)
    return fake.mean()


def pulling_away(features: Array) -> Array:
    """1 / (N (N - 1)) sum_(i != j) cos^2(S_i, S_j): turns the rows of a batch away from each other, to right angles.

    Zhao et al. 2017, section 2.4. A row of zeros is taken to be at right angles to all.

    Args:
        features: [N, F], the encoder's outputs S on generated rows.

    Raises:
        ValueError: fewer than two rows.
    """
    (features,) = arrays("N F", features=features)
    n = len(features)
    if n < 2:
        raise ValueError(f"features: the pulling-away term is over pairs of rows, it needs at least two, got {n}")
    squared = (features**2).sum(1, keepdims=True)
    directions = features * jax.lax.rsqrt(jnp.where(squared == 0, 1.0, squared))
    cosines = jnp.matmul(directions, directions.T, precision="highest")
    return (cosines**2).sum(where=~jnp.eye(n, dtype=bool)) / (n * (n - 1))


def equilibrium_critic(real: Array, fake: Array, k: Array) -> Array:
    """E L(x) - k E L(G(z)) (Berthelot et al. 2017, "BEGAN", section 3.4); the generator's is `energy_generator`.

    Args:
        real, fake: [B], the energies L.
        k: a scalar of `next_equilibrium`, zero at the start.
    """
    real, fake = arrays("B", "R", real=real, fake=fake)
    return real.mean() - k * fake.mean()


def next_equilibrium(k: Array, real: Array, fake: Array, gamma: float = 0.5, rate: float = 1e-3) -> Array:
    """k <- k + rate (gamma E L(x) - E L(G(z))), held to [0, 1]: at its rest the energies' ratio is gamma.

    Berthelot et al. 2017, section 3.4. No gradient goes through it.

    Args:
        real, fake: [B], the energies L.
        gamma: lower, the images are better and less diverse.
    """
    real, fake = arrays("B", "R", real=real, fake=fake)
    return jax.lax.stop_gradient(jnp.clip(k + rate * (gamma * real.mean() - fake.mean()), 0, 1))


def convergence_measure(real: Array, fake: Array, gamma: float = 0.5) -> Array:
    """E L(x) + |gamma E L(x) - E L(G(z))|: it falls as a BEGAN improves, at its equilibrium.

    Berthelot et al. 2017, section 3.4.1.

    Args:
        real, fake: [B], the energies L.
    """
    real, fake = arrays("B", "R", real=real, fake=fake)
    return real.mean() + jnp.abs(gamma * real.mean() - fake.mean())
