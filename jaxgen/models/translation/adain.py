"""Adaptive instance normalisation (Huang and Belongie 2017, "Arbitrary Style Transfer in Real-time with Adaptive
Instance Normalization").

    t = AdaIN(f(c), f(s)) = sigma(f(s)) (f(c) - mu(f(c))) / sigma(f(c)) + mu(f(s))
    loss = |f(g(t)) - t|^2 + w sum_l [|mu(f_l(g(t))) - mu(f_l(s))|^2 + |sigma(f_l(g(t))) - sigma(f_l(s))|^2]

Only the decoder g learns.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

import optax

from jaxgen.contracts import Array, Play, Variables
from jaxgen.losses.perceptual import Features, feature_distance, moment_style_loss, spatial_moments
from jaxgen.models.translation.style_transfer import StyleTransfer, inverse_decay


def adaptive_instance_norm(content: Array, style: Array, epsilon: float = 1e-5) -> Array:
    """Features [B, H, W, C] with the means and standard deviations over positions of others [B, H', W', C]."""
    mean, std = spatial_moments(content, epsilon)
    style_mean, style_std = spatial_moments(style, epsilon)
    return style_std * (content - mean) / std + style_mean


@dataclasses.dataclass(frozen=True)
class AdaIN(StyleTransfer):
    """A `StyleTransfer` by adaptive instance normalisation; the play `decoder` trains the decoder.

    The content loss is a mean over all features of `content_layer`, which must be `layer`: its target is t. The style
    loss sums over channels and weighs 0.01, as in the authors' code (Torch); `style_channels="mean"` with
    `style_weight=10` is that of the widely used PyTorch code (naoto0804).

    Attributes:
        style_channels: how the style loss reduces channels.
    """

    style_channels: Literal["sum", "mean"] = "sum"

    def __post_init__(self):
        super().__post_init__()
        if self.content_layer != self.layer:
            raise ValueError(f"`content_layer` must be layer={self.layer!r}, got {self.content_layer!r}")

    def plays(self) -> Mapping[str, Play]:
        optimizer = optax.adam(inverse_decay(1e-4, 5e-5))
        return {"decoder": Play(("decoder",), self.loss, optimizer, accumulates=True)}

    def transform(self, variables: Variables, content: Array, style: Array) -> Array:
        return adaptive_instance_norm(content, style)

    def losses(self, output: Features, content: Features, style: Features) -> tuple[Array, Array]:
        content_loss = feature_distance({"t": output[self.layer]}, {"t": content["target"]})
        weights = dict.fromkeys(self.style_layers, 1.0)
        return content_loss, moment_style_loss(output, style, weights, channels=self.style_channels)
