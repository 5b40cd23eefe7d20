"""Transfer of an arbitrary style in the features of a fixed network; its variants are `AdaIN` and `LinearStyle`.

With features f, a decoder g and a transformation of content features to those in a style,

    translate(x, style) = g((1 - alpha) f(x) + alpha sum_k w_k transform(f(x), f(style_k)))
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.arguments import as_real, check_counts, check_number, check_shapes, freeze_fields
from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Variables
from jaxgen.losses.perceptual import Features, feature_distance, layer_scales, moment_style_loss
from jaxgen.models.forward import forward
from jaxgen.models.scaling import to_data
from jaxgen.models.translation.domain import Domain, check_domains, other
from jaxgen.nets.vgg import VGG, VGGDecoder

STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")


@dataclasses.dataclass(frozen=True)
class StyleTransfer:
    """Contents are the domain a, styles the domain b: RGB images of any size, integers or floats in [0, 1].

    No play moves the player `features`: bring trained variables with `fit(start={"features": variables})`.

    Attributes:
        a, b: the two domains; images may have other sizes than their `event_shape`.
        features: any network from RGB in [0, 1] to `{layer: features}`.
        decoder: any network from features of `layer` to RGB in [0, 1], which is not bounded: `translate` clips it.
        layer: whose features are transformed and decoded.
        content_layer, style_layers: whose features the losses compare.
        content_weight, style_weight: weights of the two losses.
        stride: pixels per position of `layer`; sides that it does not divide are extended by reflection.
    """

    a: Domain
    b: Domain
    _: dataclasses.KW_ONLY
    features: nn.Module = VGG(padding="reflect")
    decoder: nn.Module = VGGDecoder()
    layer: str = "relu4_1"
    content_layer: str = "relu4_1"
    style_layers: tuple[str, ...] = STYLE_LAYERS
    content_weight: float = 1.0
    style_weight: float = 0.01
    stride: int = 8
    monitor: ClassVar = ("loss", "min")

    def __post_init__(self):
        freeze_fields(self)
        check_counts(stride=self.stride)
        check_number("content_weight", self.content_weight, 0)
        check_number("style_weight", self.style_weight, 0)

    def init(self, key: Key, batch: Batch) -> Variables:
        """Raises:
        ValueError: images that are not RGB; a layer that `features` does not have.
        """
        check_domains(batch)
        features_key, decoder_key, key = jax.random.split(key, 3)
        x = self.images(batch["a"]["x"])[:1]  # nothing is initialised from data
        features = self.features.init(features_key, x)
        layers = self.features.apply(features, x)
        if missing := {self.layer, self.content_layer, *self.style_layers} - set(layers):
            raise ValueError(f"`features` must have the layers {sorted(missing)}, got {sorted(layers)}")
        return {
            "features": features,
            "decoder": self.decoder.init(decoder_key, layers[self.layer]),
            **self.init_transformation(key, layers[self.layer]),
        }

    def init_transformation(self, key: Key, features: Array) -> Variables:
        """The variables of players that transform features."""
        return {}

    def transform(self, variables: Variables, content: Array, style: Array) -> Array:
        """Features of a content [B, h, w, C] in the style of others [B, h', w', C]."""
        raise NotImplementedError

    def images(self, x: Array, to: str = "a") -> Array:
        """Examples of a domain in data units as RGB in [0, 1]."""
        x = getattr(self, to).fraction(as_real("x", x))
        if x.ndim != 4 or x.shape[-1] != 3 or 0 in x.shape:
            raise ValueError(f"`x` must be RGB images [B, H, W, 3], got shape {x.shape}")
        return x

    def encode(self, variables: Variables, images: Array) -> Features:
        """The features of RGB images in [0, 1], by layer."""
        return forward(self.features, variables["features"], images)[0]

    def decode(self, variables: Variables, features: Array) -> Array:
        """RGB images of features of `layer`, about in [0, 1]."""
        return forward(self.decoder, variables["decoder"], features)[0]

    def losses(self, output: Features, content: Features, style: Features) -> tuple[Array, Array]:
        """The content and the style loss of features of an output, not weighted."""
        raise NotImplementedError

    def transfer(self, variables: Variables, batch: Batch) -> tuple[Features, Features, Features, LossOutput]:
        """Contents in the styles at the same place of the batch: features of the outputs, of the contents with their
        `target` (the transformed features), of the styles, and the weighted sum of the losses.

        Metrics: `content` and `style`, the two losses without their weights.
        """
        content, style = (self.encode(variables, self.images(batch[d]["x"], d)) for d in ("a", "b"))
        target = self.transform(variables, content[self.layer], style[self.layer])
        output, content = self.encode(variables, self.decode(variables, target)), {**content, "target": target}
        content_loss, style_loss = self.losses(output, content, style)
        value = self.content_weight * content_loss + self.style_weight * style_loss
        return output, content, style, LossOutput(value, {"content": content_loss, "style": style_loss})

    def loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metrics: `content` and `style`, the two losses without their weights."""
        return self.transfer(variables, batch)[-1]

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """Metrics of contents translated to the styles at the same place of the batch.

        `loss`, the weighted sum of the training losses; `content` and `style` of `style_metrics`; `reconstruction`, the
        mean squared error of decoded contents in [0, 1].
        """
        output, content, style, loss = self.transfer(variables, batch)
        reconstruction = self.decode(variables, content[self.layer])
        return {
            "loss": loss.value,
            **style_metrics(output, content, style, self.content_layer, self.style_layers),
            "reconstruction": ((reconstruction - self.images(batch["a"]["x"])) ** 2).mean(),
        }

    def reconstruct(self, variables: Variables, x: Array, to: str = "a") -> Array:
        """Examples of a domain, encoded and decoded."""
        return self._output(x, to, to, lambda features: self.decode(variables, features), variables)

    def translate(
        self,
        variables: Variables,
        x: Array,
        style: Array,
        to: str = "b",
        key: Key | None = None,
        alpha: float = 1.0,
        weights: Array | None = None,
    ) -> Array:
        """Contents [B, H, W, 3] in a style, in data units of the domain `to`.

        Args:
            style: examples of the domain `to`, [B, h, w, 3], or one for all contents, [1, h, w, 3]; or K of either to
                interpolate between, [K, B, h, w, 3].
            key: unused.
            alpha: 0 reconstructs the content, 1 transfers the style fully.
            weights: of the K styles, [K]; None: equal. They are divided by their sum.

        Raises:
            ValueError: images of other shapes, or another number of styles or weights.
        """
        style = as_real("style", style)
        styles = style if style.ndim == 5 else style[None]
        weights = jnp.ones(len(styles)) if weights is None else weights
        check_shapes("K ...", "K", style=styles, weights=weights)
        weights = jnp.asarray(weights) / jnp.sum(jnp.asarray(weights))

        def transformed(content: Array) -> Array:
            target = jnp.zeros_like(content)
            for image, weight in zip(styles, weights, strict=True):
                features = self.encode(variables, self.images(image, to))[self.layer]
                if features.shape[0] not in (1, content.shape[0]):
                    raise ValueError(f"`style` must have one image or {content.shape[0]}, got {features.shape[0]}")
                features = jnp.broadcast_to(features, (content.shape[0], *features.shape[1:]))
                target += weight * self.transform(variables, content, features)
            return self.decode(variables, (1 - alpha) * content + alpha * target)

        return self._output(x, other(to), to, transformed, variables)

    def _output(self, x: Array, origin: str, to: str, decode: Callable[[Array], Array], variables: Variables) -> Array:
        """Images of `origin`, extended to multiples of `stride`, encoded, decoded, cropped, in data units of `to`."""
        x = self.images(x, origin)
        height, width = x.shape[1:3]
        ends = [(0, -side % self.stride) for side in (height, width)]
        x = jnp.pad(x, ((0, 0), *ends, (0, 0)), mode="reflect")
        y = decode(self.encode(variables, x)[self.layer])[:, :height, :width]
        return to_data(jnp.clip(y, 0, 1), getattr(self, to).levels)


def style_metrics(
    output: Features, content: Features, style: Features, content_layer: str, style_layers: tuple[str, ...]
) -> dict[str, Array]:
    """Distances of an output's features, each layer divided by its `layer_scales` over the contents.

    `content`: the mean squared distance from the content in `content_layer`. `style`: the sum over `style_layers` of
    the mean squared distances of means and standard deviations from the style's (`moment_style_loss`).
    """
    layers = {content_layer, *style_layers}
    scales = layer_scales({name: content[name] for name in layers})
    weights = dict.fromkeys(style_layers, 1.0)
    return {
        "content": feature_distance(output, content, {content_layer: 1.0}, scales),
        "style": moment_style_loss(output, style, weights, scales, channels="mean"),
    }


def inverse_decay(rate: float, decay: float) -> Callable[[Array], Array]:
    """The schedule rate / (1 + decay i) of both authors' code."""
    return lambda count: rate / (1 + decay * count)
