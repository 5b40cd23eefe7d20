"""Networks that synthesise a person in another pose (Balakrishnan et al. 2018, "Synthesizing Images of Humans in Unseen
Poses"): the U-Net, the five steps made of three of them, one U-Net alone, and the critic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.convolution import Conv
from jaxgen.nets.initializers import he_normal
from jaxgen.nets.pose import Skeleton, known_limbs, limb_masks, limb_similarities, pose_maps
from jaxgen.warping import affine_warp

SMALLEST = 8
"""The least side of an image at the bottom of a network."""
POSE_STD = 3.5 / 256
"""The standard deviation of a joint's heat map as a fraction of the height."""
LOG_FLOOR = 1e-10
"""Added to the masks of limbs before their logarithm."""


def _conv(features: int, kernel_size: int = 3, strides: int = 1, name: str | None = None) -> nn.Module:
    return Conv(features, kernel_size, strides, kernel_init=he_normal, name=name)


def _activated(x: jax.Array, features: int, kernel_size: int = 3, strides: int = 1) -> jax.Array:
    return nn.leaky_relu(_conv(features, kernel_size, strides)(x), 0.2)


def _halvings(x: jax.Array) -> int:
    """How often both sides can be halved without falling below `SMALLEST`.

    Raises:
        ValueError: not once, or the sides are not divisible.
    """
    side, count = min(x.shape[1:3]), 0
    while side >= 2 * SMALLEST:
        side, count = side // 2, count + 1
    if not count or any(n % 2**count for n in x.shape[1:3]):
        raise ValueError(
            f"`image` must have sides of at least {2 * SMALLEST}, divisible by {2**count}, got shape {x.shape}"
        )
    return count


class PoseUNet(nn.Module):
    """An image [B, H, W, C] and a pose [B, H/2, W/2, J] to features [B, H, W, last].

    Convolutions of stride 2 down to 8 pixels, five times from 256, and bilinear upsampling; the encoder's features of
    each resolution are concatenated to the decoder's, and the pose to those at half of the image's.

    Attributes:
        width: channels at full resolution; each halving doubles them, up to `most`.
        last: channels of the result; None: `width`.
    """

    width: int = 64
    most: int = 128
    last: int | None = None

    @nn.compact
    def __call__(self, x: jax.Array, pose: jax.Array) -> jax.Array:
        widths = [min(self.width << level, max(self.most, self.width)) for level in range(_halvings(x) + 1)]
        x = _activated(x, widths[0], 7)
        skips = []
        for above, width in zip(widths, widths[1:], strict=False):
            skips.append(x)
            x = _activated(x, above, strides=2)
            x = _activated(x if len(skips) > 1 else jnp.concatenate([x, pose], -1), width)
        for level in reversed(range(len(skips))):
            b, h, w, c = x.shape
            x = jnp.concatenate([jax.image.resize(x, (b, 2 * h, 2 * w, c), "bilinear"), skips[level]], -1)
            x = _activated(x, widths[level] if level else self.last or self.width)
        return x


class Synthesis(NamedTuple):
    """What a generator computes; all but `output` and the poses are None for a network without the five steps.

    Attributes:
        output: [B, H, W, C].
        source_pose, target_pose: heat maps, [B, H/2, W/2, J].
        masks: of the source, background first, [B, H, W, 1 + L]; their sum is one.
        limbs: the masked limbs of the source in the target's pose, [B, H, W, L, C].
        foreground: [B, H, W, C].
        foreground_mask: [B, H, W, 1].
        background: [B, H, W, C].
    """

    output: jax.Array
    source_pose: jax.Array
    target_pose: jax.Array
    masks: jax.Array | None = None
    limbs: jax.Array | None = None
    foreground: jax.Array | None = None
    foreground_mask: jax.Array | None = None
    background: jax.Array | None = None


def half_size_maps(joints: jax.Array, height: int, width: int) -> jax.Array:
    """Heat maps of joints at half of the image's size, [B, height/2, width/2, J].

    Their standard deviation is `POSE_STD` of the height, 7/4 pixels of the map in the paper, and at least one pixel of
    the map: narrower Gaussians would fall between the pixels.
    """
    return pose_maps(joints / 2, height // 2, width // 2, max(1.0, POSE_STD * height / 2))


class LimbSynthesis(nn.Module):
    """Balakrishnan et al. 2018: an image in [-1, 1], its joints and those of the target to a `Synthesis`.

    1. `half_size_maps`: joints to heat maps;
    2. `segment`: masks of the limbs and of the background, softmax(U-Net(image, pose) + log of Gaussians along limbs);
    3. `move`: each masked limb, warped by the similarity between its joints;
    4. `draw_foreground`: U-Net(limbs, target pose) to a foreground and a mask m;
    5. `fill_background`: U-Net(masked background, its mask, pose) to a background;

    and output = m foreground + (1 - m) background.

    Attributes:
        segmenter, foreground, background: networks called with an image and a pose, three instances; the module adds
            their last layers.
        skeleton: joints and limbs.
        motion: `(target joints, source joints, skeleton) -> matrices` of the backward warps, [B, L, 2, 3];
            `jaxgen.nets.no_motion` leaves limbs where they are.
    """

    segmenter: nn.Module = PoseUNet(last=32)
    foreground: nn.Module = PoseUNet()
    background: nn.Module = PoseUNet()
    skeleton: Skeleton = Skeleton()
    motion: Callable[[jax.Array, jax.Array, Skeleton], jax.Array] = limb_similarities
    channels: int = 3

    def setup(self):
        self.segmenter_head = Conv(1 + len(self.skeleton.limbs))
        self.foreground_head = Conv(self.channels + 1)
        self.background_head = Conv(self.channels)

    def __call__(self, image: jax.Array, joints: jax.Array, target: jax.Array) -> Synthesis:
        size = image.shape[1:3]
        source_pose, target_pose = half_size_maps(joints, *size), half_size_maps(target, *size)
        masks = self.segment(image, joints, source_pose)
        limbs = self.move(image, masks[..., 1:], joints, target)
        foreground, mask = self.draw_foreground(limbs, target_pose)
        background = self.fill_background(image, masks[..., :1], source_pose)
        output = mask * foreground + (1 - mask) * background
        return Synthesis(output, source_pose, target_pose, masks, limbs, foreground, mask, background)

    def segment(self, image: jax.Array, joints: jax.Array, pose: jax.Array) -> jax.Array:
        """Masks of the background and of the limbs, [B, H, W, 1 + L]."""
        limbs = limb_masks(joints, self.skeleton, *image.shape[1:3])
        prior = jnp.concatenate([1 - limbs.max(-1, keepdims=True), limbs], -1)
        return nn.softmax(self.segmenter_head(self.segmenter(image, pose)) + jnp.log(prior + LOG_FLOOR))

    def move(self, image: jax.Array, masks: jax.Array, joints: jax.Array, target: jax.Array) -> jax.Array:
        """The limbs of an image in the target's pose, [B, H, W, L, C], zero for limbs unknown in either pose."""
        b, h, w, c = image.shape
        count = masks.shape[-1]
        masked = (masks[..., None] * image[..., None, :]).transpose(0, 3, 1, 2, 4)
        matrices = self.motion(target, joints, self.skeleton)
        moved = affine_warp(masked.reshape(b * count, h, w, c), matrices.reshape(b * count, 2, 3))
        moved = moved.reshape(b, count, h, w, c).transpose(0, 2, 3, 1, 4)
        known = known_limbs(joints, self.skeleton) & known_limbs(target, self.skeleton)
        return jnp.where(known[:, None, None, :, None], moved, 0)

    def draw_foreground(self, limbs: jax.Array, pose: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The person in the target's pose, [B, H, W, C], and its mask in [0, 1], [B, H, W, 1]."""
        y = self.foreground_head(self.foreground(limbs.reshape(*limbs.shape[:3], -1), pose))
        return jnp.tanh(y[..., : self.channels]), nn.sigmoid(y[..., self.channels :])

    def fill_background(self, image: jax.Array, mask: jax.Array, pose: jax.Array) -> jax.Array:
        """The image without the person, [B, H, W, C]."""
        return jnp.tanh(self.background_head(self.background(jnp.concatenate([mask * image, mask], -1), pose)))


class DirectSynthesis(nn.Module):
    """One network of the image and both poses: the baseline of Balakrishnan et al. 2018.

    Attributes:
        network: called with an image and a pose; the module adds the last layer.
    """

    network: nn.Module = PoseUNet(most=256)
    channels: int = 3

    @nn.compact
    def __call__(self, image: jax.Array, joints: jax.Array, target: jax.Array) -> Synthesis:
        poses = [half_size_maps(each, *image.shape[1:3]) for each in (joints, target)]
        features = self.network(image, jnp.concatenate(poses, -1))
        return Synthesis(jnp.tanh(Conv(self.channels, name="head")(features)), *poses)


class PoseCritic(nn.Module):
    """An image [B, H, W, C] and the two poses, [B, H/2, W/2, J] each, to a score [B].

    Attributes:
        width: channels at full resolution, a multiple at lower ones: 64, 128 and then 256 in the paper.
        hidden: units of the two dense layers.
    """

    width: int = 64
    hidden: int = 256

    @nn.compact
    def __call__(self, x: jax.Array, *poses: jax.Array) -> jax.Array:
        def halved(x):
            b, h, w, c = x.shape
            return x.reshape(b, h // 2, 2, w // 2, 2, c).max((2, 4))

        halvings = _halvings(x)
        x = jnp.concatenate([halved(_activated(x, self.width, 5)), *poses], -1)
        for level in range(1, halvings):
            x = halved(_activated(x, self.width * min(4, 2**level), 5 if level == 1 else 3))
        x = _activated(x, 4 * self.width).reshape(x.shape[0], -1)
        for i in range(2):
            x = nn.relu(nn.Dense(self.hidden, name=f"hidden_{i}")(x))
        return nn.Dense(1, name="score")(x)[:, 0]

