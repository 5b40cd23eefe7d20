"""Generators of all scales of one picture: what a trained SinGAN does."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.arguments import as_batch, as_real, check_counts, check_shape
from jaxgen.contracts import Array, Batch, Key, Variables
from jaxgen.models.forward import forward
from jaxgen.models.hybrids.pyramid import Pyramid, resize
from jaxgen.models.scaling import from_data, to_data
from jaxgen.nets.single_image import ScaleCritic, ScaleGenerator

Sizes = tuple[tuple[int, int], ...]
"""Heights and widths, from coarse to fine."""
Noise = Callable[[int, tuple[int, int]], Array | float]
"""The noise z of a scale in a size, [B, height, width, C]; zero: none."""


@dataclasses.dataclass(frozen=True)
class ScaleGenerators:
    """Players `generator0`, `critic0`, `generator1`, ..., from coarse to fine.

    The collection `scale` of a generator holds its noise's standard deviation `std`, the picture's reconstruction
    `below` it, whether it is `trained`, a `seed`, and on the coarsest scale the noise `z` of the reconstruction.

    Attributes:
        event_shape: of the picture.
        levels: number of grey levels of integer data, scaled to [-1, 1] for the networks; None: the data are floats.
        min_side, factor: of the `Pyramid`.
        width, max_width: channels of the coarsest scale, doubled every four scales up to `max_width`.
        depth: convolutions of each network.

    Raises:
        ValueError: a field outside its range; the coarsest scale is too small for a patch.
    """

    event_shape: tuple[int, int, int]
    levels: int | None = None
    _: dataclasses.KW_ONLY
    min_side: int = 25
    factor: float = 0.75
    width: int = 32
    max_width: int = 128
    depth: int = 5

    def __post_init__(self):
        check_shape(self.event_shape)
        if len(self.event_shape) != 3:
            raise ValueError(f"`event_shape` must be (height, width, channels), got {self.event_shape}")
        check_counts(width=self.width, max_width=self.max_width, depth=self.depth)
        if min(self.sizes[0]) <= 2 * self.depth:
            least = 2 * self.depth + 1
            raise ValueError(
                f"the coarsest scale must have {least} pixels a side for depth={self.depth}, got {self.sizes[0]}"
            )

    @cached_property
    def pyramid(self) -> Pyramid:
        return Pyramid(tuple(self.event_shape[:2]), self.min_side, self.factor)

    @cached_property
    def sizes(self) -> Sizes:
        """Of the picture."""
        return self.pyramid.sizes()

    def network(self, player: Literal["generator", "critic"], scale: int) -> nn.Module:
        width = min(self.width << scale // 4, self.max_width)
        return {"generator": ScaleGenerator, "critic": ScaleCritic}[player](width, self.depth)

    def init(self, key: Key, batch: Batch) -> Variables:
        """Raises:
        ValueError: pictures of another shape or type.
        """
        x, channels = self._scaled(batch["x"]), self.event_shape[-1]
        variables: dict[str, Any] = {}
        for n, size in enumerate(self.sizes):
            generator_key, critic_key, seed_key, noise_key = jax.random.split(jax.random.fold_in(key, n), 4)
            real, below = resize(x, size), jnp.zeros((1, *size, channels))
            scale = {"std": jnp.float32(n == 0), "trained": jnp.bool_(n == 0), "below": below[0]}
            scale["seed"] = jax.random.bits(seed_key, dtype=jnp.uint32)
            if n == 0:
                scale["z"] = jax.random.normal(noise_key, (*size, 1))
            generator = self.network("generator", n).init(generator_key, below, below)
            variables[f"generator{n}"] = {**generator, "scale": scale}
            variables[f"critic{n}"] = self.network("critic", n).init(critic_key, real)
        return variables

    def sample(
        self, variables: Variables, key: Key, n: int, context: None = None, height: int | None = None,
        width: int | None = None, start: int = 0,
    ) -> Array:  # fmt: skip
        """Random images in data units, [n, height, width, C].

        Args:
            context: there is none.
            height, width: of the images; None: the picture's.
            start: the first scale with random noise; below it is the reconstruction of the picture.

        Raises:
            ValueError: no such scale.
        """
        size = tuple(
            own if given is None else given for given, own in zip((height, width), self.pyramid.size, strict=True)
        )
        check_counts(height=size[0], width=size[1])
        sizes, start = self.pyramid.sizes(size), self._scale("start", start)
        below = variables[f"generator{start}"]["scale"]["below"]
        y = jnp.broadcast_to(resize(below[None], sizes[start]), (n, *sizes[start], below.shape[-1]))
        return self._data(self._climb(variables, self._random(key, n), sizes, y, start))

    def reconstruct(self, variables: Variables, x: Any = None, key: Any = None, context: None = None) -> Array:
        """The picture from z*, [1, height, width, C] in data units. All arguments but the variables are unused."""
        return self._data(self._climb(variables, self._anchor(variables), self.sizes))

    def translate(
        self, variables: Variables, x: Array, key: Key | None = None, start: int = 1, mask: Array | None = None
    ) -> Array:
        """Images [B, height, width, C] of any size, injected below scale `start`: harmonisation, editing, painting.

        Args:
            key: of the noise; None: none.
            start: at least 1; the lower, the more the images change.
            mask: [B or 1, height, width, 1], 1 where the output is used and 0 where the images stay.

        Raises:
            ValueError: no such scale; images that are not of the picture's kind.
        """
        x, start = self._images(x), self._scale("start", start, 1)
        sizes = self.pyramid.sizes(x.shape[1:3])
        y = self._climb(variables, self._random(key, len(x)), sizes, resize(x, sizes[start - 1]), start)
        if mask is not None:
            mask = as_real("mask", mask)
            if mask.ndim != 4 or mask.shape[0] not in (1, len(x)) or mask.shape[1:] != (*x.shape[1:3], 1):
                raise ValueError(
                    f"`mask` must be [{len(x)} or 1, {x.shape[1]}, {x.shape[2]}, 1], got shape {mask.shape}"
                )
            y = mask * y + (1 - mask) * x
        return self._data(y)

    def super_resolve(self, variables: Variables, x: Array, times: int, key: Key | None = None) -> Array:
        """Images [B, h, w, C] enlarged `times` times by 1 / `pyramid.ratio`, each time through the finest scale."""
        check_counts(times=times)
        y, finest = self._images(x), len(self.sizes) - 1
        for i in range(times):
            size = tuple(round(side * self.pyramid.ratio ** -(i + 1)) for side in x.shape[1:3])
            noise = self._random(None if key is None else jax.random.fold_in(key, i), len(y))
            y = self._climb(variables, noise, (size,) * (finest + 1), y, finest)
        return self._data(y)

    def animate(
        self, variables: Variables, key: Key, frames: int, start: int = 0, pull: float = 0.1, momentum: float = 0.9
    ) -> Array:
        """A walk z_t near z*, [frames, height, width, C] in data units.

        `z_(t+1) = pull z* + (1 - pull) (z_t + momentum (z_t - z_(t-1)) + (1 - momentum) u)` with noise u at each scale
        from `start` on, z_(-1) = z* and z_0 near it (the supplement, section 5 and the authors' code).
        """
        check_counts(frames=frames)
        start, anchor = self._scale("start", start), self._anchor(variables)

        def walk(k: int, size: tuple[int, int]) -> Array:
            end, u = anchor(k, size) + jnp.zeros((1, 1, 1, 1)), self._random(key, frames + 1)(k, size)
            if k < start:
                return end

            def step(last: tuple[Array, Array], u: Array) -> tuple[tuple[Array, Array], Array]:
                z, before = last
                new = pull * end + (1 - pull) * (z + momentum * (z - before) + (1 - momentum) * u)
                return (new, z), new[0]

            first, still = 0.95 * end + 0.05 * u[:1], jnp.broadcast_to(end, u[:1].shape)
            return jax.lax.scan(step, (first, still), u[1:])[1]

        y = jnp.zeros((frames, *self.sizes[0], self.event_shape[-1]))
        return self._data(self._climb(variables, walk, self.sizes, y))

    def _climb(
        self, variables: Variables, noise: Noise, sizes: Sizes, y: Array | None = None, first: int = 0
    ) -> Array:
        """The image above the scales `first` to `len(sizes) - 1`; y: the image below them."""
        y = jnp.zeros((1, *sizes[0], self.event_shape[-1])) if y is None else y
        for k in range(first, len(sizes)):
            scale, y = variables[f"generator{k}"]["scale"], resize(y, sizes[k])
            z = jnp.broadcast_to(scale["std"] * noise(k, sizes[k]), y.shape)
            x, _ = forward(self.network("generator", k), variables[f"generator{k}"], z, y)
            y = jnp.where(scale["trained"], x, y)
        return y

    def _random(self, key: Key | None, n: int) -> Noise:
        """Noise of n images; zero without a key. On the coarsest scale all channels have the same."""

        def noise(k: int, size: tuple[int, int]) -> Array | float:
            if key is None:
                return 0.0
            return jax.random.normal(jax.random.fold_in(key, k), (n, *size, self.event_shape[-1] if k else 1))

        return noise

    def _anchor(self, variables: Variables) -> Noise:
        """The noise z* of the reconstruction."""
        return lambda k, size: 0.0 if k else variables["generator0"]["scale"]["z"][None]

    def _scale(self, name: str, scale: int, least: int = 0) -> int:
        if isinstance(scale, bool) or not isinstance(scale, int) or not least <= scale < len(self.sizes):
            raise ValueError(f"`{name}` must be a scale from {least} to {len(self.sizes) - 1}, got {scale!r}")
        return scale

    def _scaled(self, x: Array) -> Array:
        """The picture as the networks see it."""
        return from_data(x, self.event_shape, self.levels, -1.0, 1.0)

    def _images(self, x: Array) -> Array:
        """Images of any size as the networks see them."""
        x = as_batch("x", x)
        if x.ndim != 4 or x.shape[-1] != self.event_shape[-1]:
            raise ValueError(f"`x` must be images [B, height, width, {self.event_shape[-1]}], got shape {x.shape}")
        return from_data(x, x.shape[1:], self.levels, -1.0, 1.0)

    def _data(self, y: Array) -> Array:
        return to_data(y, self.levels, -1.0, 1.0)
