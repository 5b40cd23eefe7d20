"""The convolutions of VGG, fixed features for perceptual losses and style transfer, and a decoder that mirrors them.

Source: Simonyan and Zisserman 2015, "Very Deep Convolutional Networks for Large-Scale Image Recognition".
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxgen.arguments import as_batch
from jaxgen.convolution import Conv

_KEY = re.compile(r"conv(\d+)_(\d+)_kernel")


class VGG(nn.Module):
    """RGB images [B, H, W, 3] in [0, 1] to their features by layer: `{"relu1_1": [B, H, W, 64], ..., last: ...}`.

    The input is `255 x` in BGR order minus `mean`. Blocks of 3x3 convolutions, each followed by a ReLU; a 2x2 max
    pooling before each block but the first. The defaults are VGG-16, ImageNet's means, and zeros around the image.

    Attributes:
        last: the last layer, `relu<block>_<convolution>`.
        widths, depths: channels and number of convolutions of each block.
        padding: of each convolution: zeros, or a reflection of the image (Huang and Belongie 2017), which needs sides
            of at least 2 at the last layer.
        mean: of the channels B, G, R in 0..255.
    """

    last: str = "relu4_1"
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    depths: tuple[int, ...] = (2, 2, 3, 3, 3)
    padding: Literal["zero", "reflect"] = "zero"
    mean: tuple[float, float, float] = (103.939, 116.779, 123.68)

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the layers up to `last`.

        Raises:
            ValueError: there is no layer `last`.
        """
        names = [f"relu{b}_{i}" for b, depth in enumerate(self.depths, 1) for i in range(1, depth + 1)]
        if self.last not in names:
            raise ValueError(f"`last` must be one of {names}, got {self.last!r}")
        return tuple(names[: names.index(self.last) + 1])

    @nn.compact
    def __call__(self, x: jax.Array) -> dict[str, jax.Array]:
        x = 255 * jnp.flip(x, -1) - jnp.asarray(self.mean, x.dtype)
        features = {}
        for name in self.layers:
            block, index = _place(name)
            if block > 1 and index == 1:
                x = nn.max_pool(x, (2, 2), (2, 2))
            if self.padding == "reflect":
                x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
            padding = "VALID" if self.padding == "reflect" else "SAME"
            x = nn.relu(Conv(self.widths[block - 1], padding=padding, name=f"conv{block}_{index}")(x))
            features[name] = x
        return features


def load_vgg(
    path: str | Path, last: str | None = None, padding: Literal["zero", "reflect"] = "zero"
) -> tuple[VGG, dict[str, Any]]:
    """A trunk and its variables from a `.npz` file: `features = network.apply(variables, x)`.

    The file has `conv<block>_<i>_kernel` [3, 3, C, D], `conv<block>_<i>_bias` [D] from the first convolution on, and
    `mean_bgr` [3]. Floats of any precision become float32.

    Args:
        last: the last layer; None: all that the file has.
        padding: as in `VGG`.

    Raises:
        ValueError: the file cannot be read, lacks arrays or has some of other shapes.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name], np.float32) for name in file.files}
    except (OSError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(f"`path` must be an .npz file with a VGG's arrays, got {str(path)!r}: {error}") from error
    places = sorted(tuple(map(int, match.groups())) for name in arrays if (match := _KEY.fullmatch(name)))
    depths = tuple(sum(block == b for block, _ in places) for b in range(1, max((b for b, _ in places), default=0) + 1))
    expected = [(b, i) for b, depth in enumerate(depths, 1) for i in range(1, depth + 1)]
    if not places or places != expected or arrays.get("mean_bgr", np.empty(0)).shape != (3,):
        raise ValueError(f"{path} must have 'mean_bgr' [3] and kernels from 'conv1_1_kernel' on, got {sorted(arrays)}")
    params, channels = {}, 3
    for block, index in places:
        name = f"conv{block}_{index}"
        kernel, bias = arrays[f"{name}_kernel"], arrays.get(f"{name}_bias")
        if kernel.shape[:-1] != (3, 3, channels) or bias is None or bias.shape != kernel.shape[-1:]:
            got = f"{list(kernel.shape)} and {None if bias is None else list(bias.shape)}"
            raise ValueError(
                f"{path}: kernel and bias of {name} must have shapes [3, 3, {channels}, D] and [D], got {got}"
            )
        params[name], channels = {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)}, kernel.shape[-1]
    widths = tuple(params[f"conv{b}_1"]["bias"].size for b in range(1, len(depths) + 1))
    last = last or f"relu{places[-1][0]}_{places[-1][1]}"
    network = VGG(last, widths, depths, padding, tuple(map(float, arrays["mean_bgr"])))
    kept = {name.replace("relu", "conv") for name in network.layers}
    return network, {"params": {name: value for name, value in params.items() if name in kept}}


def normalize_activations(
    network: VGG, variables: Mapping[str, Any], x: Any, per: Literal["channel", "layer"] = "channel"
) -> dict[str, Any]:
    """Variables with which the features of images have mean one over all positions: features divided by their means.

    The "normalised" VGG of Gatys et al. 2016 and Huang and Belongie 2017: since ReLU and pooling commute with positive
    factors, they are factors of kernels and biases.

    Args:
        x: images as `network` takes them, [B, H, W, 3].
        per: each channel has mean one, or only each layer: in a network with channels that are almost always zero,
            those would be amplified above all others. Channels that are zero on all images stay so.
    """
    features = network.apply(variables, as_batch("x", x))
    params, before = dict(variables["params"]), jnp.ones(3)
    for layer in network.layers:
        mean, name = features[layer].mean((0, 1, 2)), layer.replace("relu", "conv")
        if per == "layer":
            mean = jnp.full_like(mean, mean.mean())
        mean = jnp.where(mean > 0, mean, 1.0)
        kernel, bias = params[name]["kernel"], params[name]["bias"]
        params[name] = {"kernel": kernel * before[:, None] / mean, "bias": bias / mean}
        before = mean
    return {**variables, "params": params}


class WithColours(nn.Module):
    """RGB images [B, H, W, 3] in [0, 1] to features followed by colours, `{layer: [B, h, w, C + 3]}`.

    The colours are the image's means over the pixels of each position, times `weight`. Deep features of a network that
    was trained for edges do not tell colours: a linear map of HED's VGG-16, fitted on 96 photographs, explains 0.99,
    0.50, 0.26 and less than nothing of the variance of other photographs' colours from relu1_1, relu2_1, relu3_1 and
    relu4_1.

    Attributes:
        network: the module of the features; its variables are under the name `network`.
        weight: the scale of the colours beside features of mean one (`normalize_activations(per="layer")`).
    """

    network: nn.Module
    weight: float = 1.0

    def __call__(self, x: jax.Array) -> dict[str, jax.Array]:
        features = self.network(x)
        return {name: jnp.concatenate([layer, self._colours(x, layer)], -1) for name, layer in features.items()}

    def _colours(self, x: jax.Array, layer: jax.Array) -> jax.Array:
        (height, width), (rows, columns) = layer.shape[1:3], (x.shape[i] // layer.shape[i] for i in (1, 2))
        x = x[:, : rows * height, : columns * width].reshape(len(x), height, rows, width, columns, -1)
        return self.weight * x.mean((2, 4))


class VGGDecoder(nn.Module):
    """Features [B, h, w, C] of a layer of a `VGG` to RGB images [B, H, W, 3]: the mirrored trunk.

    Convolutions in the reverse order, each with a reflection of the image around it and a ReLU after it, except the
    last; nearest-neighbour upsampling in place of pooling, which leaves no checkerboard (Huang and Belongie 2017,
    section 6).

    Attributes:
        last: the layer of the trunk, `relu<block>_<convolution>`.
        widths, depths: channels and number of convolutions of each block of the trunk; smaller widths make a smaller
            decoder of the same form.
    """

    last: str = "relu4_1"
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    depths: tuple[int, ...] = (2, 2, 3, 3, 3)

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        x = features
        for name in reversed(VGG(self.last, self.widths, self.depths, parent=None).layers):
            block, index = _place(name)
            first = block == index == 1
            width = 3 if first else self.widths[block - 1 - (index == 1)]
            x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
            x = Conv(width, padding="VALID", name=f"conv{block}_{index}")(x)
            if not first:
                x = nn.relu(x)
            if index == 1 and block > 1:
                x = x.repeat(2, 1).repeat(2, 2)
        return x


def _place(layer: str) -> tuple[int, int]:
    """The block and the convolution of a layer `relu<block>_<convolution>`."""
    block, index = map(int, layer.removeprefix("relu").split("_"))
    return block, index
