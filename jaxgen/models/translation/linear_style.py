"""Style transfer by a learned linear transformation (Li, Liu, Kautz and Yang 2019, "Learning Linear Transformations for
Fast Image and Video Style Transfer").

With features F centred by their own means over positions, and small networks M_c, M_s from these to matrices,

    T = M_s(F_s) M_c(F_c)
    transform(F_c, F_s) = U T C F_c + mu(F_s)
    loss = |f(g(.)) - f(c)|^2 + w sum_l [|mu - mu_s|^2 + |G - G_s|^2]

where C and U are 1x1 convolutions to fewer channels and back. First the decoder g learns to invert the features, then
C, U, M_c and M_s learn, with g fixed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgen.arguments import check_number
from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Phase, Play, Variables
from jaxgen.convolution import Conv
from jaxgen.losses.perceptual import Features, feature_distance, gram_style_loss
from jaxgen.models.forward import forward
from jaxgen.models.translation.style_transfer import StyleTransfer, inverse_decay
from jaxgen.nets.vgg import VGGDecoder


class MatrixNetwork(nn.Module):
    """Centred features [B, h, w, C] to a matrix [B, size, size]: 3x3 convolutions, F^T F / (h w), a dense layer.

    Attributes:
        size: rows of the matrix, and channels of the last convolution.
        widths: channels of the convolutions before it, each followed by a ReLU.
    """

    size: int = 32
    widths: tuple[int, ...] = (128, 64)

    @nn.compact
    def __call__(self, features: Array) -> Array:
        x = features
        for width in self.widths:
            x = nn.relu(Conv(width)(x))
        x = Conv(self.size)(x).reshape(x.shape[0], -1, self.size)
        matrix = jnp.einsum("bnc,bnd->bcd", x, x) / x.shape[1]
        return nn.Dense(self.size**2)(matrix.reshape(x.shape[0], -1)).reshape(matrix.shape)


class LinearTransformation(nn.Module):
    """Features of contents and of styles, [B, h, w, C] each, to transformed features U T C (F_c - mu_c) + mu_s.

    Attributes:
        size, widths: of the two `MatrixNetwork`s.
    """

    size: int = 32
    widths: tuple[int, ...] = (128, 64)

    @nn.compact
    def __call__(self, content: Array, style: Array) -> Array:
        mean = style.mean((1, 2), keepdims=True)
        content, style = content - content.mean((1, 2), keepdims=True), style - mean
        style_matrix = MatrixNetwork(self.size, self.widths, name="style")(style)
        matrix = style_matrix @ MatrixNetwork(self.size, self.widths, name="content")(content)
        compressed = Conv(self.size, 1, name="compress")(content)
        transformed = jnp.einsum("bij,bhwj->bhwi", matrix, compressed)
        return Conv(mean.shape[-1], 1, name="uncompress")(transformed) + mean


@dataclasses.dataclass(frozen=True)
class LinearStyle(StyleTransfer):
    """A `StyleTransfer` by a linear transformation of centred features.

    The play `decoder` trains g on reconstructions of both domains in a first phase: the squared error of the images
    and, weighted by `feature_weight`, of their features. The play `transformation` trains the rest in a second one.

    Attributes:
        transformation: network `(content, style) -> features`.
        matrix: G of the style loss, `gram` as in the authors' code or `covariance` as in the paper.
        decoder_share: part of the steps that the first phase takes; 0: the decoder is brought by `start`.
        feature_weight: of the features in the decoder's loss (1 in Li et al. 2017, "Universal Style Transfer via
            Feature Transforms", whose images and features are on other scales).
    """

    decoder: nn.Module = VGGDecoder(last="relu3_1")
    layer: str = "relu3_1"
    style_weight: float = 0.02
    stride: int = 4
    transformation: nn.Module = LinearTransformation()
    matrix: Literal["gram", "covariance"] = "gram"
    decoder_share: float = 0.5
    feature_weight: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        check_number("decoder_share", self.decoder_share, 0, 1)

    def init_transformation(self, key: Key, features: Array) -> Variables:
        return {"transformation": self.transformation.init(key, features, features)}

    def plays(self) -> Mapping[str, Play]:
        return {
            "decoder": Play(("decoder",), self.decoder_loss, optax.adam(inverse_decay(1e-4, 5e-5)), accumulates=True),
            "transformation": Play(
                ("transformation",), self.loss, optax.adam(inverse_decay(1e-4, 1e-5)), accumulates=True
            ),
        }

    def phases(self, steps: int) -> tuple[Phase, ...]:
        first, plays = round(self.decoder_share * steps), self.plays()
        decoder = Phase({"decoder": plays["decoder"]}, first, monitor=("reconstruction", "min"))
        transformation = Phase({"transformation": plays["transformation"]}, steps - first)
        return tuple(phase for phase in (decoder, transformation) if phase.steps)

    def transform(self, variables: Variables, content: Array, style: Array) -> Array:
        return forward(self.transformation, variables["transformation"], content, style)[0]

    def losses(self, output: Features, content: Features, style: Features) -> tuple[Array, Array]:
        weights = dict.fromkeys(self.style_layers, 1.0)
        return (
            feature_distance(output, content, {self.content_layer: 1.0}),
            gram_style_loss(output, style, weights, matrix=self.matrix),
        )

    def decoder_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metrics: `image` and `feature`, the two errors without their weights, means over all values."""
        image = feature = 0.0
        for images in (self.images(batch["a"]["x"]), self.images(batch["b"]["x"], "b")):
            features = self.encode(variables, images)
            output = self.decode(variables, features[self.layer])
            image += ((output - images) ** 2).mean() / 2
            if self.feature_weight:
                feature += feature_distance(self.encode(variables, output), features, {self.layer: 1.0}) / 2
        return LossOutput(image + self.feature_weight * feature, {"image": image, "feature": jnp.asarray(feature)})
