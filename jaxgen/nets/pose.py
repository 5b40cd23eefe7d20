"""Skeletons of articulated figures: heat maps of joints, masks along limbs, and the similarities between two poses.

Joints are (x, y) in pixels of the image (`jaxgen.warping`), [B, J, 2]. A joint that is not finite is unknown; a limb is
known if all of its joints are. Lengths are fractions of the image's height, so that they suit every resolution.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from jaxgen.arguments import freeze_fields
from jaxgen.warping import similarity


@dataclasses.dataclass(frozen=True)
class Skeleton:
    """The joints and limbs of a figure; the defaults are those of MPII, 14 joints and 10 limbs.

    Attributes:
        joints: names.
        limbs: indices of the joints of each limb: its two ends, or four, the mean of the first two and of the last two.
        mirrored: pairs of joints that change places when an image is flipped.
        width, wide: standard deviation across a limb's mask, of two joints and of four, as fractions of the height.
        least: the least standard deviation along it.
    """

    joints: tuple[str, ...] = (
        "head", "neck", "right shoulder", "right elbow", "right wrist", "left shoulder", "left elbow", "left wrist",
        "right hip", "right knee", "right ankle", "left hip", "left knee", "left ankle",
    )  # fmt: skip
    limbs: tuple[tuple[int, ...], ...] = (
        (0, 1), (2, 3), (3, 4), (5, 6), (6, 7), (8, 9), (9, 10), (11, 12), (12, 13), (2, 5, 8, 11),
    )  # fmt: skip
    mirrored: tuple[tuple[int, int], ...] = ((2, 5), (3, 6), (4, 7), (8, 11), (9, 12), (10, 13))
    width: float = 11 / 256
    wide: float = 13 / 256
    least: float = 5**0.5 / 256

    def __post_init__(self):
        freeze_fields(self)
        if any(len(limb) not in (2, 4) for limb in self.limbs):
            raise ValueError(f"`limbs` must have two or four joints each, got {self.limbs}")

    def swapped(self, joints: jax.Array) -> jax.Array:
        """Joints [..., J, 2] with those of `mirrored` exchanged."""
        order = list(range(len(self.joints)))
        for right, left in self.mirrored:
            order[right], order[left] = left, right
        return joints[..., jnp.array(order), :]


def known_joints(joints: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Which joints are known, [..., J], and the joints with zeros in place of those that are not."""
    known = jnp.isfinite(joints).all(-1)
    return known, jnp.where(known[..., None], joints, 0)


def known_limbs(joints: jax.Array, skeleton: Skeleton) -> jax.Array:
    """Whether all joints of each limb are known, [B, L].

    Raises:
        ValueError: the skeleton has other joints.
    """
    if joints.shape[1] != len(skeleton.joints):
        raise ValueError(f"`joints` must be the {len(skeleton.joints)} of the skeleton, got shape {joints.shape}")
    known = jnp.isfinite(joints).all(-1)
    return jnp.stack([known[:, jnp.array(limb)].all(-1) for limb in skeleton.limbs], -1)


def pose_maps(joints: jax.Array, height: int, width: int, std: float) -> jax.Array:
    """Heat maps of joints, [B, height, width, J]: exp(-|p - j|^2 / (2 std^2)) at pixel p, zero for joints that are
    unknown or outside of the map.

    Args:
        joints: [B, J, 2], in pixels of the map.
        std: in pixels of the map.
    """
    known, joints = known_joints(joints)
    inside = ((joints >= 0) & (joints <= jnp.array([width - 1, height - 1]))).all(-1)
    x, y = joints[:, None, None, :, 0], joints[:, None, None, :, 1]
    squared = (jnp.arange(width)[:, None] - x) ** 2 + (jnp.arange(height)[:, None, None] - y) ** 2
    return jnp.where((known & inside)[:, None, None], jnp.exp(-squared / (2 * std**2)), 0)


def limb_masks(joints: jax.Array, skeleton: Skeleton, height: int, width: int) -> jax.Array:
    """A Gaussian along each limb, with maximum one over the pixels: [B, height, width, L]; zero for unknown limbs.

    Its variance along the limb is two thirds of the limb's squared length, and at least `skeleton.least`^2.
    """
    _, clean = known_joints(joints)
    masks = []
    pixels = jnp.stack(jnp.meshgrid(jnp.arange(width), jnp.arange(height)), -1).astype(clean.dtype)
    for limb in skeleton.limbs:
        half = len(limb) // 2
        first, last = clean[:, jnp.array(limb[:half])].mean(1), clean[:, jnp.array(limb[half:])].mean(1)
        squared_length = ((last - first) ** 2).sum(-1)
        straight = squared_length > 0
        length = jnp.sqrt(jnp.where(straight, squared_length, 1))
        along = jnp.where(straight[:, None], (last - first) / length[:, None], jnp.array([1.0, 0.0]))
        across = jnp.stack([-along[:, 1], along[:, 0]], -1)
        offset = pixels - ((first + last) / 2)[:, None, None]
        variance = jnp.maximum((skeleton.least * height) ** 2, squared_length / 1.5)[:, None, None]
        std = (skeleton.width if half == 1 else skeleton.wide) * height
        exponent = (offset * along[:, None, None]).sum(-1) ** 2 / variance
        exponent += (offset * across[:, None, None]).sum(-1) ** 2 / std**2
        masks.append(jnp.exp(-(exponent - exponent.min((1, 2), keepdims=True)) / 2))
    return jnp.where(known_limbs(joints, skeleton)[:, None, None], jnp.stack(masks, -1), 0)


def limb_similarities(joints: jax.Array, others: jax.Array, skeleton: Skeleton) -> jax.Array:
    """The similarity of each limb, [B, L, 2, 3], that takes its joints to those of another pose in least squares.

    It is the identity where a joint of the limb is unknown in either pose.
    """
    known = known_limbs(joints, skeleton) & known_limbs(others, skeleton)
    (_, joints), (_, others) = known_joints(joints), known_joints(others)
    matrices = []
    for i, limb in enumerate(skeleton.limbs):
        weights = jnp.broadcast_to(known[:, i, None], (known.shape[0], len(limb))).astype(joints.dtype)
        matrices.append(similarity(joints[:, jnp.array(limb)], others[:, jnp.array(limb)], weights))
    return jnp.stack(matrices, 1)


def no_motion(joints: jax.Array, others: jax.Array, skeleton: Skeleton) -> jax.Array:
    """The identity for each limb, [B, L, 2, 3]: limbs stay where they are."""
    return jnp.tile(jnp.eye(2, 3, dtype=joints.dtype), (joints.shape[0], len(skeleton.limbs), 1, 1))
