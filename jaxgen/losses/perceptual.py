"""Distances of images in the features of a fixed network, and statistics of features that describe style.

Features are mappings `{layer: [B, H, W, C]}` from any network, for example `jaxgen.nets.VGG`. A figure depends on the
network: it compares only with figures of the same one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import jax.numpy as jnp
from jax import lax

from jaxgen.arguments import as_arrays
from jaxgen.contracts import Array

Features = Mapping[str, Array]
"""By layer, [B, H, W, C]."""


def spatial_moments(features: Array, epsilon: float = 1e-5) -> tuple[Array, Array]:
    """Means and standard deviations sqrt(var + epsilon) of features [B, H, W, C] over positions, [B, 1, 1, C] each."""
    (features,) = as_arrays("B H W C", features=features)
    mean = features.mean((1, 2), keepdims=True)
    return mean, jnp.sqrt(((features - mean) ** 2).mean((1, 2), keepdims=True) + epsilon)


def gram_matrix(features: Array) -> Array:
    """F^T F / (H W C) of features [B, H, W, C] as a matrix F [H W, C], **not centred**: [B, C, C].

    Source: Gatys et al. 2016, with the factor of Johnson et al. 2016.
    """
    (features,) = as_arrays("B H W C", features=features)
    rows = features.reshape(features.shape[0], -1, features.shape[-1])
    return jnp.einsum("bnc,bnd->bcd", rows, rows) / (rows.shape[1] * rows.shape[2])


def covariance_matrix(features: Array) -> Array:
    """The Gram matrix of features [B, H, W, C] minus their means over positions: their covariance / C, [B, C, C]."""
    (features,) = as_arrays("B H W C", features=features)
    return gram_matrix(features - features.mean((1, 2), keepdims=True))


def layer_scales(features: Features) -> dict[str, Array]:
    """By layer, the mean over examples of the standard deviation of all values of an example; without gradient."""
    scales = {}
    for name, layer in features.items():
        (layer,) = as_arrays("B ...", features=layer)
        scales[name] = lax.stop_gradient(layer.reshape(layer.shape[0], -1).std(1).mean())
    return scales


def feature_distance(
    a: Features,
    b: Features,
    weights: Mapping[str, float] | None = None,
    scales: Mapping[str, Array | float] | None = None,
    absolute: bool = False,
) -> Array:
    """sum_l w_l E [((a_l - b_l) / s_l)^2], a scalar: means over batch, positions and channels.

    Args:
        a, b: features of the same shapes.
        weights: w by layer; None: 1 for each layer of `a`.
        scales: s by layer, for example `layer_scales`; None: 1.
        absolute: |.| in place of the square, with which the loss is less sensitive to outliers.

    Raises:
        ValueError: a layer of `weights` is missing in `a`, `b` or `scales`; features of other shapes.
    """
    total = jnp.zeros(())
    for weight, x, y in _layers(a, b, weights, scales, "B ..."):
        total += weight * (jnp.abs(x - y) if absolute else (x - y) ** 2).mean()
    return total


def unit_feature_distance(
    a: Features, b: Features, weights: Mapping[str, float] | None = None, epsilon: float = 1e-10
) -> Array:
    """sum_l w_l E sum_channels (a_l / |a_l| - b_l / |b_l|)^2, a scalar: |.| over the channels of each position.

    Means over batch and positions. A layer's term is at most 4, and 2 for features without negative values, whatever
    their scale. LPIPS without the learned weights of channels: Zhang et al. 2018, "The Unreasonable Effectiveness of
    Deep Features as a Perceptual Metric", equation 1.

    Args:
        a, b: features of the same shapes, [B, ..., C].
        weights: w by layer; None: 1 for each layer of `a`.
        epsilon: added to |.|^2, for positions where all features are zero.

    Raises:
        ValueError: a layer of `weights` is missing in `a` or `b`; features of other shapes.
    """
    total = jnp.zeros(())
    for weight, x, y in _layers(a, b, weights, None, "B ..."):
        x, y = (each / jnp.sqrt((each**2).sum(-1, keepdims=True) + epsilon) for each in (x, y))
        total += weight * ((x - y) ** 2).sum(-1).mean()
    return total


def moment_style_loss(
    a: Features,
    b: Features,
    weights: Mapping[str, float] | None = None,
    scales: Mapping[str, Array | float] | None = None,
    channels: Literal["sum", "mean"] = "sum",
    epsilon: float = 1e-5,
) -> Array:
    """sum_l w_l E_batch sum_channels [(mu(a_l) - mu(b_l))^2 + (sigma(a_l) - sigma(b_l))^2] / s_l^2, a scalar.

    Moments are over positions, whose number may differ between a and b. The sum over channels is that of the authors'
    code, their mean that of a widely used other one; the weights differ accordingly (0.01 and 10).

    Source: Huang and Belongie 2017, "Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization",
    equation 13.

    Args, Raises: as `feature_distance`; `channels` reduces the sum over channels.
    """
    total = jnp.zeros(())
    for weight, x, y in _layers(a, b, weights, scales, "B H W C", "B H2 W2 C"):
        differences = sum(
            (p - q) ** 2 for p, q in zip(spatial_moments(x, epsilon), spatial_moments(y, epsilon), strict=True)
        )
        per_example = differences.sum((1, 2, 3)) if channels == "sum" else differences.mean((1, 2, 3))
        total += weight * per_example.mean()
    return total


def gram_style_loss(
    a: Features,
    b: Features,
    weights: Mapping[str, float] | None = None,
    scales: Mapping[str, Array | float] | None = None,
    matrix: Literal["gram", "covariance"] = "gram",
) -> Array:
    """sum_l w_l E_batch [|mu(a_l) - mu(b_l)|^2 + |G(a_l) - G(b_l)|^2], a scalar; G of features divided by s_l.

    G is `gram_matrix`, as in the authors' code, or `covariance_matrix`, as in the paper: Li et al. 2019, "Learning
    Linear Transformations for Fast Image and Video Style Transfer".

    Args, Raises: as `feature_distance`; positions may differ in number between a and b.
    """
    second = gram_matrix if matrix == "gram" else covariance_matrix
    total = jnp.zeros(())
    for weight, x, y in _layers(a, b, weights, scales, "B H W C", "B H2 W2 C"):
        means = ((x.mean((1, 2)) - y.mean((1, 2))) ** 2).sum(-1)
        total += weight * (means + ((second(x) - second(y)) ** 2).sum((1, 2))).mean()
    return total


def _layers(
    a: Features, b: Features, weights: Mapping[str, float] | None, scales: Mapping[str, Array | float] | None,
    *shapes: str,
) -> Iterator[tuple[float, Array, Array]]:  # fmt: skip
    """By layer, its weight and its features of the given shapes, divided by its scale."""
    weights = dict.fromkeys(a, 1.0) if weights is None else weights
    for name, layers in (("a", a), ("b", b), ("scales", weights if scales is None else scales)):
        if missing := [layer for layer in weights if layer not in layers]:
            raise ValueError(f"`{name}` must have the layers {list(weights)}, got none named {missing}")
    for layer, weight in weights.items():
        x, y = as_arrays(*shapes, a=a[layer], b=b[layer])
        scale = 1.0 if scales is None else scales[layer]
        yield weight, x / scale, y / scale
