"""A two-dimensional mixture of Gaussians, elongated along rays from the origin."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp

from jaxgen.arguments import check_range


@dataclasses.dataclass(frozen=True)
class RadialMixture:
    """Equally likely Gaussians centred on a circle, each with its axes along and across its ray from the origin.

    Ten components as in Makhzani et al. 2015, "Adversarial Autoencoders", figure 4, which does not state their shape.

    Attributes:
        components: number of Gaussians.
        radius: distance of their centres from the origin.
        along, across: standard deviations along the ray and across it.
    """

    components: int = 10
    _: dataclasses.KW_ONLY
    radius: float = 3.0
    along: float = 0.8
    across: float = 0.3

    def _rays(self) -> tuple[jax.Array, jax.Array]:
        """Unit vectors along each ray and across it, [components, 2]."""
        angles = 2 * math.pi / self.components * jnp.arange(self.components)
        ray = jnp.stack([jnp.cos(angles), jnp.sin(angles)], -1)
        return ray, jnp.stack([-ray[:, 1], ray[:, 0]], -1)

    def sample(self, key: jax.Array, n: int, label: jax.Array | None = None) -> jax.Array:
        """n points, [n, 2], from the components `label` [n], or from random ones.

        Raises:
            ValueError: labels other than 0 ... components - 1. Traced labels are not checked but clipped.
        """
        label_key, along_key, across_key = jax.random.split(key, 3)
        if label is None:
            label = jax.random.randint(label_key, (n,), 0, self.components)
        label = jnp.asarray(label)
        check_range("label", label, 0, self.components - 1, whole=True)
        label = jnp.clip(label, 0, self.components - 1)
        ray, normal = (vectors[label] for vectors in self._rays())
        distance = self.radius + self.along * jax.random.normal(along_key, (n, 1))
        return distance * ray + self.across * jax.random.normal(across_key, (n, 1)) * normal

    def log_prob(self, z: jax.Array) -> jax.Array:
        """log p(z) in nats: z [B, 2] to [B]."""
        ray, normal = self._rays()
        squares = ((z @ ray.T - self.radius) / self.along) ** 2 + (z @ normal.T / self.across) ** 2
        constant = math.log(2 * math.pi * self.along * self.across * self.components)
        return jax.nn.logsumexp(-0.5 * squares, axis=-1) - constant
