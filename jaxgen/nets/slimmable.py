"""Translators with separable residual blocks, whose layers can use their first channels only.

Li et al. 2020, "GAN Compression: Efficient Architectures for Interactive Conditional GANs", arXiv:2003.08936.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.arguments import check_counts
from jaxgen.convolution import Conv, TransposedConv
from jaxgen.nets.initializers import lecun_normal
from jaxgen.nets.normalization import InstanceNorm


class DepthwiseConv(nn.Module):
    """A k x k convolution of each channel with a kernel of its own, padded by reflection: [B, H, W, C] to itself.

    Computed as a sum of shifted products, whose gradient is fast in loops on a CPU too.
    """

    kernel_size: int = 3

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        k, (height, width) = self.kernel_size, x.shape[1:3]
        kernel = self.param("kernel", nn.initializers.normal(1 / k), (k, k, x.shape[-1])).astype(x.dtype)
        padded = jnp.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2), (0, 0)), mode="reflect")
        return sum(padded[:, i : i + height, j : j + width] * kernel[i, j] for i in range(k) for j in range(k))


class SlimmableTranslator(nn.Module):
    """[B, H, W, C] to features [B, H, W, channels[-1]], as `ResNetTranslator` with separable residual blocks.

    A first layer, n halvings, residual blocks of two separable convolutions and n doublings, with instance
    normalisation without gain and bias. With `limits` each layer uses the first of its channels only: the output, zero
    in the other channels, is that of the smaller network whose parameters are cut to its shapes (`cut_channels`).

    Attributes:
        channels: of each layer: the first, after each halving (the last of these is the width of the residual stream),
            inside each residual block, after each doubling; `uniform` makes them.
        halvings: n.
        kernel_size: of the first layer.
        choices: by layer, numbers of channels of which training mode draws one at each call, uniformly and
            independently (once-for-all training); empty: training uses all channels.
    """

    channels: tuple[int, ...] = (64, 128, 256, *(256,) * 9, 128, 64)
    halvings: int = 2
    kernel_size: int = 7
    choices: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def uniform(cls, width: int, halvings: int = 2, blocks: int = 9, **fields: Any) -> SlimmableTranslator:
        """`width` channels in the first and the last layer, doubled at each halving."""
        down = [width << i for i in range(halvings + 1)]
        return cls((*down, *(down[-1],) * blocks, *down[-2::-1]), halvings, **fields)

    @property
    def blocks(self) -> int:
        """The number of residual blocks."""
        return len(self.channels) - 1 - 2 * self.halvings

    def check(self) -> None:
        """Raises ValueError unless there are channels for each layer, and choices for each or for none."""
        check_counts(channels=self.channels)
        check_counts(0, halvings=self.halvings)
        if self.blocks < 1:
            raise ValueError(f"`channels` must have at least {2 + 2 * self.halvings} numbers, got {self.channels}")
        if not self.choices:
            return
        check_counts(**{"choices": [n for numbers in self.choices for n in numbers]})
        fits = len(self.choices) == len(self.channels)
        if not fits or not all(numbers and max(numbers) <= c for numbers, c in zip(self.choices, self.channels)):
            raise ValueError(
                f"`choices` must have numbers of at most channels={self.channels} for each layer, got {self.choices}"
            )

    @nn.compact
    def __call__(self, x: jax.Array, limits: Any = None, outputs: bool = False) -> Any:
        """Features, or with `outputs` a pair of them and a list: the residual stream before and after each block.

        Args:
            limits: integers [len(channels)], from 1 to `channels`; None: `choices` in training mode, otherwise all.
        """
        self.check()
        if limits is None and self.choices and self.has_rng("dropout"):
            keys = jax.random.split(self.make_rng("dropout"), len(self.choices))
            limits = [jax.random.choice(key, jnp.array(n)) for key, n in zip(keys, self.choices, strict=True)]

        def limited(h: jax.Array, i: int) -> jax.Array:
            return h if limits is None else h * (jnp.arange(h.shape[-1]) < limits[i]).astype(h.dtype)

        def activated(h: jax.Array, i: int) -> jax.Array:
            return limited(nn.relu(InstanceNorm(affine=False)(h)), i)

        def separable(h: jax.Array, i: int, name: str) -> jax.Array:
            h = InstanceNorm(affine=False)(DepthwiseConv(name=f"{name}_places")(h))
            return Conv(self.channels[i], 1, name=name, **fields)(h)

        fields: dict[str, Any] = {"use_bias": False, "kernel_init": lecun_normal}
        stream, top = self.halvings, self.halvings + self.blocks
        x = activated(Conv(self.channels[0], self.kernel_size, padding="REFLECT", name="first", **fields)(x), 0)
        for n in range(1, stream + 1):
            x = activated(Conv(self.channels[n], 3, strides=2, name=f"halving_{n}", **fields)(x), n)
        stages = [x]
        for n in range(1, self.blocks + 1):
            h = activated(separable(x, stream + n, f"block_{n}_in"), stream + n)
            x = x + limited(InstanceNorm(affine=False)(separable(h, stream, f"block_{n}_out")), stream)
            stages.append(x)
        for n in range(1, self.halvings + 1):
            x = activated(TransposedConv(self.channels[top + n], name=f"doubling_{n}", **fields)(x), top + n)
        return (x, stages) if outputs else x

    def layers(self) -> list[tuple[str, int | None, int | None]]:
        """By layer its name and the indices in `channels` of its input and of its output.

        The input of the first layer has None; so has the output of a convolution of each channel by itself.
        """
        stream, top = self.halvings, self.halvings + self.blocks
        layers: list[tuple[str, int | None, int | None]] = [("first", None, 0)]
        layers += [(f"halving_{n}", n - 1, n) for n in range(1, stream + 1)]
        for n in range(1, self.blocks + 1):
            for name, source, target in (("in", stream, stream + n), ("out", stream + n, stream)):
                layers += [(f"block_{n}_{name}_places", source, None), (f"block_{n}_{name}", source, target)]
        return layers + [(f"doubling_{n}", stream if n == 1 else top + n - 1, top + n) for n in range(1, stream + 1)]

    def multiply_adds(self, shape: Sequence[int], limits: Sequence[int] | None = None) -> int:
        """Multiply-adds of the convolutions for one image of a shape (H, W, C), in closed form.

        Args:
            limits: as in `__call__`; None: all channels.
        """
        channels, pixels = self.channels if limits is None else limits, shape[0] * shape[1]
        total = pixels * self.kernel_size**2 * shape[2] * channels[0]
        for name, source, target in self.layers()[1:]:
            if name.startswith("halving"):
                pixels //= 4
            places = 9 if target is None or name.startswith("halving") else 1
            if name.startswith("doubling"):  # 4x4 kernels, of which each of four times as many pixels sees a quarter
                places, pixels = 4, 4 * pixels
            total += pixels * places * channels[source] * (1 if target is None else channels[target])
        return total


def cut_channels(params: Any, shapes: Any) -> Any:
    """Parameters cut to the shapes of a smaller network: the first entries of each axis.

    Args:
        shapes: the smaller network's parameters, or their shapes as `jax.eval_shape` returns them.

    Raises:
        ValueError: another structure; a larger shape.
    """

    def first(leaf: jax.Array, smaller: Any) -> jax.Array:
        if leaf.ndim != len(smaller.shape) or any(n < m for n, m in zip(leaf.shape, smaller.shape)):
            raise ValueError(f"`shapes` must be at most those of `params`, got {smaller.shape} for {leaf.shape}")
        return leaf[tuple(map(slice, smaller.shape))]

    return jax.tree.map(first, params, shapes)


def sort_channels(network: SlimmableTranslator, params: Any, head: jax.Array) -> tuple[Any, jax.Array]:
    """The same function with the channels of each layer in descending order of importance.

    A channel's importance is the L1 norm of the weights of the next layers that it is multiplied by, except those of
    convolutions of each channel by itself. (The authors' code takes the weights that produce it, whose scale instance
    normalisation undoes.)

    Args:
        params: of the network.
        head: kernel of the layer after the network, [h, w, channels[-1], D].

    Returns:
        The parameters and the head's kernel, with permuted channels.
    """
    kernels = {}
    for name, _, _ in network.layers():
        kernels[name] = (params[name]["Conv_0"] if name.startswith("doubling") else params[name])["kernel"]
    importance = [jnp.zeros(c) for c in network.channels]
    for name, source, target in network.layers():
        if source is not None and target is not None:
            importance[source] += jnp.abs(kernels[name]).sum((0, 1, 3))
    importance[-1] += jnp.abs(head).sum((0, 1, 3))
    orders = [jnp.argsort(-value) for value in importance]
    permuted = {}
    for name, source, target in network.layers():
        kernel = kernels[name]
        if source is not None:
            kernel = kernel[:, :, orders[source]]
        if target is not None:
            outputs = kernel.shape[-1] // network.channels[target]  # four for each channel of a doubling, side by side
            order = outputs * orders[target][:, None] + jnp.arange(outputs)
            kernel = kernel[..., order.ravel()]
        permuted[name] = {"Conv_0": {"kernel": kernel}} if name.startswith("doubling") else {"kernel": kernel}
    return permuted, head[:, :, orders[-1]]
