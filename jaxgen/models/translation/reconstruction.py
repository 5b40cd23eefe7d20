"""How an output in [-1, 1] is compared with its target: in pixels, or in the features of a fixed network."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Protocol

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jaxgen.arguments import freeze_fields
from jaxgen.contracts import Array, Collections, Key, Variables
from jaxgen.losses.perceptual import feature_distance
from jaxgen.models.forward import forward

TRUNK = "trunk"
"""The player of the feature network, which no play moves."""
SCALED = 64
"""Target images whose features give the scales."""


class Reconstruction(Protocol):
    """How the output is compared with the target, both in [-1, 1]."""

    def init(self, key: Key, images: Array) -> Variables:
        """Variables of players of its own, without which the loss does not work."""

    def enter(self, variables: Variables, images: Array) -> Variables:
        """Variables at the start of training, from the first target images."""

    def loss(self, variables: Variables, output: Array, target: Array) -> Array: ...


@dataclasses.dataclass(frozen=True)
class PixelReconstruction:
    """mean |output - target|."""

    def init(self, key: Key, images: Array) -> Variables:
        return {}

    def enter(self, variables: Variables, images: Array) -> Variables:
        return variables

    def loss(self, variables: Variables, output: Array, target: Array) -> Array:
        return jnp.abs(output - target).mean()


@dataclasses.dataclass(frozen=True)
class FeatureReconstruction:
    """The mean over layers of mean |f(output) - f(target)| / (s + 0.1) in features f of a fixed network, with s the
    standard deviation of each channel over the first `SCALED` target images.

    Attributes:
        network: images [B, H, W, C] in [0, 1] to features by layer, for example `jaxgen.nets.VGG`. Trained variables
            are given to `fit` as `start={"trunk": {"params": ..., "scales": ...}}` (`started`).
        layers: names of the layers; empty: all.
        floor: added to s.
    """

    network: nn.Module
    layers: tuple[str, ...] = ()
    floor: float = 0.1

    def __post_init__(self):
        freeze_fields(self)

    def init(self, key: Key, images: Array) -> Variables:
        variables = self.network.init(key, images[:1])
        return {TRUNK: {**variables, "scales": self._scales(variables, images[:1])}}

    def enter(self, variables: Variables, images: Array) -> Variables:
        trunk = variables[TRUNK]
        return {**variables, TRUNK: {**trunk, "scales": self._scales(trunk, images)}}

    def started(self, trained: Collections) -> Variables:
        """The argument `start` of `fit` for trained variables of the network."""
        features = jax.eval_shape(lambda: self._features(trained, jnp.zeros((1, 64, 64, 3))))
        scales = {name: jnp.ones(layer.shape[-1:]) for name, layer in features.items()}
        return {TRUNK: {**trained, "scales": scales}}

    def loss(self, variables: Variables, output: Array, target: Array) -> Array:
        trunk = variables[TRUNK]
        features = [self._features(trunk, x) for x in (output, lax.stop_gradient(target))]
        scales = {name: scale + self.floor for name, scale in trunk["scales"].items()}
        weights = dict.fromkeys(features[0], 1 / len(features[0]))
        return feature_distance(*features, weights=weights, scales=scales, absolute=True)

    def _features(self, trunk: Collections, images: Array) -> Mapping[str, Array]:
        params = {name: value for name, value in trunk.items() if name != "scales"}
        features, _ = forward(self.network, params, (images + 1) / 2)
        return {name: features[name] for name in self.layers} if self.layers else features

    def _scales(self, trunk: Collections, images: Array) -> dict[str, Array]:
        def moments(image: Array) -> dict[str, tuple[Array, Array]]:
            layers = self._features(trunk, image[None]).items()
            return {name: (layer.mean((0, 1, 2)), layer.var((0, 1, 2))) for name, layer in layers}

        # one image after another: the memory of one
        by_image = lax.map(moments, images[:SCALED])
        return {name: jnp.sqrt(mean.var(0) + variance.mean(0)) for name, (mean, variance) in by_image.items()}
