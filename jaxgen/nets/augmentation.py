"""Differentiable augmentations of a critic's inputs, data and samples.

Each is called as `(x, key, step) -> x`, is random per example, and is the identity at strength zero. Those for images
[B, H, W, C] in [-1, 1] are from Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training", with
its strengths; its colour policy is `Brightness`, `Saturation` and `Contrast` in this order. They raise ValueError
unless x is [B, H, W, C].
"""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
from jax import lax

from jaxgen.arguments import check_number
from jaxgen.warping import affine_warp


def _image(x: jax.Array) -> tuple[int, int, int, int]:
    if x.ndim != 4:
        raise ValueError(f"`x` must be images [B, H, W, C], got shape {x.shape}")
    return x.shape


def _per_image(key: jax.Array, x: jax.Array, strength: float) -> jax.Array:
    """Uniform on [-strength, strength] per image, [B, 1, 1, 1]."""
    return jax.random.uniform(key, (_image(x)[0], 1, 1, 1), x.dtype, -strength, strength)


@dataclasses.dataclass(frozen=True)
class InstanceNoise:
    """x + std max(0, 1 - step / steps) N(0, 1), of any shape (Sønderby et al. 2017; Arjovsky and Bottou 2017).

    Attributes:
        std: initial standard deviation.
        steps: number of steps until it is zero.
    """

    std: float
    steps: int

    def __call__(self, x: jax.Array, key: jax.Array, step: jax.Array) -> jax.Array:
        std = self.std * jnp.maximum(0.0, 1 - step / self.steps)
        return x + std.astype(x.dtype) * jax.random.normal(key, x.shape, x.dtype)


@dataclasses.dataclass(frozen=True)
class Brightness:
    """x + b, with b ~ U[-strength, strength]."""

    strength: float = 0.5

    def __call__(self, x: jax.Array, key: jax.Array, step: jax.Array) -> jax.Array:
        return x + _per_image(key, x, self.strength)


@dataclasses.dataclass(frozen=True)
class Saturation:
    """x + s (x - m), with m the mean over channels and s ~ U[-strength, strength]; x if it has one channel."""

    strength: float = 1.0

    def __call__(self, x: jax.Array, key: jax.Array, step: jax.Array) -> jax.Array:
        return x + _per_image(key, x, self.strength) * (x - x.mean(-1, keepdims=True))


@dataclasses.dataclass(frozen=True)
class Contrast:
    """x + s (x - m), with m the mean of the image and s ~ U[-strength, strength]."""

    strength: float = 0.5

    def __call__(self, x: jax.Array, key: jax.Array, step: jax.Array) -> jax.Array:
        return x + _per_image(key, x, self.strength) * (x - x.mean((1, 2, 3), keepdims=True))


@dataclasses.dataclass(frozen=True)
class Translation:
    """A shift by whole pixels, up to `ratio` of each side (rounded) in either direction, padded with zeros."""

    ratio: float = 0.125

    def __call__(self, x: jax.Array, key: jax.Array, step: jax.Array) -> jax.Array:
        n, height, width, channels = _image(x)
        limits = [int(side * self.ratio + 0.5) for side in (height, width)]
        shifts = jax.random.randint(key, (n, 2), 0, 2 * jnp.array(limits) + 1)
        padded = jnp.pad(x, ((0, 0), *((m, m) for m in limits), (0, 0)))
        return jax.vmap(lambda a, s: lax.dynamic_slice(a, (*s, 0), (height, width, channels)))(padded, shifts)


@dataclasses.dataclass(frozen=True)
class Cutout:
    """Zeros in a rectangle of `ratio` of each side (rounded), centred anywhere in the image."""

    ratio: float = 0.5

    def __call__(self, x: jax.Array, key: jax.Array, step: jax.Array) -> jax.Array:
        n, *sides, _ = _image(x)

        def inside(key, side):
            size = int(side * self.ratio + 0.5)
            first = jax.random.randint(key, (n, 1), 0, side + 1 - size % 2) - size // 2
            position = jnp.arange(side)
            return (first <= position) & (position < first + size)

        rows, columns = map(inside, jax.random.split(key), sides)
        return jnp.where((rows[:, :, None] & columns[:, None])[..., None], 0, x)


@dataclasses.dataclass(frozen=True)
class Mirror:
    """Mirrors half of the images, left and right."""

    def __call__(self, x: jax.Array, key: jax.Array, step: jax.Array) -> jax.Array:
        mirrored = jax.random.bernoulli(key, 0.5, (_image(x)[0], 1, 1, 1))
        return jnp.where(mirrored, x[:, :, ::-1], x)


@dataclasses.dataclass(frozen=True)
class QuarterTurns:
    """Turns square images by 0, 90, 180 or 270 degrees.

    Raises:
        ValueError: images that are not square.
    """

    def __call__(self, x: jax.Array, key: jax.Array, step: jax.Array) -> jax.Array:
        n, height, width, _ = _image(x)
        if height != width:
            raise ValueError(f"`x` must be square images, got shape {x.shape}")
        turns = jax.random.randint(key, (n, 1, 1, 1), 0, 4)
        half = jnp.where(turns >= 2, x[:, ::-1, ::-1], x)
        return jnp.where(turns % 2 == 1, jnp.rot90(half, 1, (1, 2)), half)


@dataclasses.dataclass(frozen=True)
class Affine:
    """Scales, stretches, rotates and shifts images around their centre; bilinear, with zeros around the image.

    The geometric augmentations of Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data",
    appendix B, in one warp.

    Attributes:
        scale: standard deviation of the logarithm to base 2 of the scale.
        stretch: the same of the factor of one side, whose inverse is that of the other.
        angle: rotations are uniform on [-angle, angle], in radians.
        shift: standard deviation of shifts, as a fraction of each side.
    """

    scale: float = 0.2
    stretch: float = 0.2
    angle: float = math.pi
    shift: float = 0.125

    def __call__(self, x: jax.Array, key: jax.Array, step: jax.Array) -> jax.Array:
        n, height, width, _ = _image(x)
        scale_key, stretch_key, angle_key, shift_key = jax.random.split(key, 4)
        scale = 2 ** (self.scale * jax.random.normal(scale_key, (n,), x.dtype))
        stretch = 2 ** (self.stretch * jax.random.normal(stretch_key, (n,), x.dtype))
        angle = jax.random.uniform(angle_key, (n,), x.dtype, -self.angle, self.angle)
        shift = self.shift * jax.random.normal(shift_key, (n, 2), x.dtype) * jnp.array((width, height), x.dtype)
        across, down = scale * stretch, scale / stretch
        cosine, sine = jnp.cos(angle), jnp.sin(angle)
        # from pixels of the output to pixels of the input
        rows = (across * cosine, -across * sine), (down * sine, down * cosine)
        matrix = jnp.stack([jnp.stack(row, -1) for row in rows], -2)
        centre = jnp.array(((width - 1) / 2, (height - 1) / 2), x.dtype)
        offset = centre - (matrix * (centre + shift)[:, None]).sum(-1)
        return affine_warp(x, jnp.concatenate([matrix, offset[..., None]], -1))


@dataclasses.dataclass(frozen=True)
class Jitter:
    """Enlarges images bilinearly, crops them at random to their size, and mirrors half of them.

    Pairs are jittered jointly if their channels are concatenated. Source: Isola et al. 2017, "Image-to-Image
    Translation with Conditional Adversarial Networks", section 6.2.

    Attributes:
        scale: of each side, rounded to pixels; 1: no crop.
        mirror: whether to mirror left and right.
    """

    scale: float = 286 / 256
    mirror: bool = True

    def __post_init__(self):
        check_number("scale", self.scale, 1)

    def __call__(self, x: jax.Array, key: jax.Array, step: jax.Array) -> jax.Array:
        n, height, width, channels = _image(x)
        crop_key, mirror_key = jax.random.split(key)
        if (large := (round(height * self.scale), round(width * self.scale))) != (height, width):
            corners = jax.random.randint(crop_key, (n, 2), 0, jnp.array(large) - jnp.array((height, width)) + 1)
            x = jax.image.resize(x, (n, *large, channels), "bilinear")
            x = jax.vmap(lambda a, c: lax.dynamic_slice(a, (*c, 0), (height, width, channels)))(x, corners)
        if self.mirror:
            mirrored = jax.random.bernoulli(mirror_key, 0.5, (n, 1, 1, 1))
            x = jnp.where(mirrored, x[:, :, ::-1], x)
        return x
