"""What a critic is given in place of data and samples: noise, and random changes that gradients flow through.

Each is called as `(x, key, step) -> x`, draws anew for each row and is the identity at strength zero. Those on images
[B, H, W, C], on [-1, 1], are those of Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training",
with its strengths: its colour policy is `Brightness`, `Saturation` and `Contrast` in this order. They raise a
ValueError where x is no image.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jax import lax


def _image(x: jax.Array) -> tuple[int, int, int, int]:
    if x.ndim != 4:
        raise ValueError(f"augmentations want images [B, H, W, C], not an array of shape {x.shape}")
    return x.shape


def _each_row(key: jax.Array, x: jax.Array, strength: float) -> jax.Array:
    """A number in +-strength for each image, uniform: [B, 1, 1, 1]."""
    return jax.random.uniform(key, (_image(x)[0], 1, 1, 1), x.dtype, -strength, strength)


@dataclasses.dataclass(frozen=True)
class InstanceNoise:
    """x + std max(0, 1 - step / steps) N(0, 1), of any shape (Sønderby et al. 2017; Arjovsky and Bottou 2017).

    Attributes:
        std: at the first step.
        steps: after which there is none.
    """

    std: float
    steps: int

    def __call__(self, x: jax.Array, key: jax.Array, step: jax.Array) -> jax.Array:
        std = self.std * jnp.maximum(0.0, 1 - step / self.steps)
        return x + std.astype(x.dtype) * jax.random.normal(key, x.shape, x.dtype)


@dataclasses.dataclass(frozen=True)
class Brightness:
    """x + b, with b in +-strength."""

    strength: float = 0.5

    def __call__(self, x: jax.Array, key: jax.Array, step: jax.Array) -> jax.Array:
        return x + _each_row(key, x, self.strength)


@dataclasses.dataclass(frozen=True)
class Saturation:
    """Each pixel's distance from the mean of its channels times 1 + s, with s in +-strength; x where it has but one."""

    strength: float = 1.0

    def __call__(self, x: jax.Array, key: jax.Array, step: jax.Array) -> jax.Array:
        return x + _each_row(key, x, self.strength) * (x - x.mean(-1, keepdims=True))


@dataclasses.dataclass(frozen=True)
class Contrast:
    """The distance from the image's mean times 1 + s, with s in +-strength."""

    strength: float = 0.5

    def __call__(self, x: jax.Array, key: jax.Array, step: jax.Array) -> jax.Array:
        return x + _each_row(key, x, self.strength) * (x - x.mean((1, 2, 3), keepdims=True))


@dataclasses.dataclass(frozen=True)
class Translation:
    """A shift by whole pixels, up to `ratio` of each side (rounded) in either direction; zeros come in."""

    ratio: float = 0.125

    def __call__(self, x: jax.Array, key: jax.Array, step: jax.Array) -> jax.Array:
        rows, height, width, channels = _image(x)
        most = [int(side * self.ratio + 0.5) for side in (height, width)]
        shifts = jax.random.randint(key, (rows, 2), 0, 2 * jnp.array(most) + 1)
        padded = jnp.pad(x, ((0, 0), *((n, n) for n in most), (0, 0)))
        return jax.vmap(lambda a, s: lax.dynamic_slice(a, (*s, 0), (height, width, channels)))(padded, shifts)


@dataclasses.dataclass(frozen=True)
class Cutout:
    """Zeros in a rectangle of `ratio` of each side (rounded), its middle anywhere in the image."""

    ratio: float = 0.5

    def __call__(self, x: jax.Array, key: jax.Array, step: jax.Array) -> jax.Array:
        rows, *sides, _ = _image(x)

        def inside(key, side):
            size = int(side * self.ratio + 0.5)
            first = jax.random.randint(key, (rows, 1), 0, side + 1 - size % 2) - size // 2
            place = jnp.arange(side)
            return (first <= place) & (place < first + size)

        down, across = map(inside, jax.random.split(key), sides)
        return jnp.where((down[:, :, None] & across[:, None])[..., None], 0, x)
