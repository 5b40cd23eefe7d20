"""Augmentation of pairs of frames together with their joints."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp

from jaxgen.arguments import check_number
from jaxgen.nets.pose import Skeleton
from jaxgen.warping import affine_warp


@dataclasses.dataclass(frozen=True)
class PoseAugmentation:
    """Random similarity transforms, flips and contrast, the same for all frames of an example.

    A point p becomes c + s R(a) F (p - c) + t, with c the image's centre: scale s, rotation a, flip F, shift t, each
    uniform in its range; the edge of the image continues beyond its border. The defaults are those of Balakrishnan
    et al. 2018, with twice the shift of their code.

    Attributes:
        scale: its range.
        rotation: the greatest angle in degrees.
        shift: the greatest shift in each direction, as a fraction of the height.
        flip: the probability to exchange left and right, in the image and among the joints.
        saturation: values in [-1, 1] are multiplied by a factor of 1 +- this, and clipped: the authors' "saturation".
        skeleton: its `mirrored` joints change places with a flip.
    """

    scale: tuple[float, float] = (0.9, 1.05)
    rotation: float = 5.0
    shift: float = 10 / 256
    flip: float = 0.5
    saturation: float = 0.05
    skeleton: Skeleton = Skeleton()

    def __post_init__(self):
        check_number("flip", self.flip, 0, 1)
        check_number("scale", self.scale[0], 0, self.scale[1], above=True)

    def __call__(self, key: jax.Array, *frames: tuple[jax.Array, jax.Array]) -> tuple[tuple[jax.Array, jax.Array], ...]:
        """Augments frames.

        Args:
            frames: `(images, joints)` of each frame, [B, H, W, C] in [-1, 1] and [B, J, 2].
        """
        batch, height, width = frames[0][0].shape[:3]
        keys = jax.random.split(key, 5)
        scale = jax.random.uniform(keys[0], (batch,), minval=self.scale[0], maxval=self.scale[1])
        angle = jax.random.uniform(keys[1], (batch,), minval=-1, maxval=1) * math.radians(self.rotation)
        shift = jax.random.uniform(keys[2], (batch, 2), minval=-1, maxval=1) * self.shift * height
        flipped = jax.random.bernoulli(keys[3], self.flip, (batch,))
        factor = 1 + self.saturation * jax.random.uniform(keys[4], (batch, 1, 1, 1), minval=-1, maxval=1)
        cos, sin, sign = scale * jnp.cos(angle), scale * jnp.sin(angle), jnp.where(flipped, -1.0, 1.0)
        linear = jnp.stack([jnp.stack([sign * cos, -sin], -1), jnp.stack([sign * sin, cos], -1)], -2)
        # rotation and flip are orthogonal, so the inverse is the transpose over the squared scale
        inverse = linear.swapaxes(1, 2) / scale[:, None, None] ** 2
        centre = jnp.array([(width - 1) / 2, (height - 1) / 2])
        offset = centre - (inverse * (centre + shift)[:, None]).sum(-1)
        backward = jnp.concatenate([inverse, offset[..., None]], -1)

        def augmented(images: jax.Array, joints: jax.Array) -> tuple[jax.Array, jax.Array]:
            moved = (linear[:, None] * (joints - centre)[:, :, None]).sum(-1) + centre + shift[:, None]
            moved = jnp.where(flipped[:, None, None], self.skeleton.swapped(moved), moved)
            return jnp.clip(factor * affine_warp(images, backward, "edge"), -1, 1), moved

        return tuple(augmented(*frame) for frame in frames)
