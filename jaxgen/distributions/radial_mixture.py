"""A mixture of Gaussians of the plane whose components lie around the origin like petals."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp

from jaxgen.arguments import check_range


@dataclasses.dataclass(frozen=True)
class RadialMixture:
    """Equally likely Gaussians, each long along its own ray from the origin and narrow across it.

    The ten of Makhzani et al. 2015, figure 4, which gives no figures for their shape.

    Attributes:
        components: their number.
        radius: of their centres.
        along: standard deviation along the ray.
        across: standard deviation across it.
    """

    components: int = 10
    radius: float = 3.0
    along: float = 0.8
    across: float = 0.3

    def _rays(self) -> tuple[jax.Array, jax.Array]:
        """Unit vectors along each ray and across it, [components, 2]."""
        angles = 2 * math.pi / self.components * jnp.arange(self.components)
        ray = jnp.stack([jnp.cos(angles), jnp.sin(angles)], -1)
        return ray, jnp.stack([-ray[:, 1], ray[:, 0]], -1)

    def sample(self, key: jax.Array, n: int, label: jax.Array | None = None) -> jax.Array:
        """n points, [n, 2], of the components that `label` [n] names, or of any.

        Raises:
            ValueError: concrete labels other than 0 ... components - 1; traced ones get the nearest component.
        """
        label_key, along_key, across_key = jax.random.split(key, 3)
        if label is None:
            label = jax.random.randint(label_key, (n,), 0, self.components)
        label = jnp.asarray(label)
        check_range("label", label, 0, self.components - 1, whole=True)
        label = jnp.clip(label, 0, self.components - 1)
        ray, normal = (vectors[label] for vectors in self._rays())
        far = self.radius + self.along * jax.random.normal(along_key, (n, 1))
        return far * ray + self.across * jax.random.normal(across_key, (n, 1)) * normal

    def log_prob(self, z: jax.Array) -> jax.Array:
        """In nats: z [B, 2] to [B]."""
        ray, normal = self._rays()
        squares = ((z @ ray.T - self.radius) / self.along) ** 2 + (z @ normal.T / self.across) ** 2
        constant = math.log(2 * math.pi * self.along * self.across * self.components)
        return jax.nn.logsumexp(-0.5 * squares, axis=-1) - constant
