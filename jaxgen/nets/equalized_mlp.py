"""Dense layers with an equalised learning rate: mapping networks and the coders of latent spaces."""

from __future__ import annotations

import jax
from flax import linen as nn

from jaxgen.arguments import check_counts
from jaxgen.nets.equalized import EqualizedDense


class EqualizedMLP(nn.Module):
    """[B, ...], flattened, to [B, features]: `EqualizedDense` layers, each followed by sqrt(2) LeakyReLU.

    With `normalize` and a small multiplier it is StyleGAN's mapping network (Karras et al. 2019, "A Style-Based
    Generator Architecture for Generative Adversarial Networks").

    Attributes:
        widths: features of each layer.
        features: features of a last layer, times sqrt(2), without an activation; None: no such layer.
        slope: of the LeakyReLU for negative inputs; 1: linear layers.
        lr_multiplier: of all layers.
        normalize: divide each example by the root of its mean square first.
    """

    widths: tuple[int, ...]
    features: int | None = None
    slope: float = 0.2
    lr_multiplier: float = 1.0
    normalize: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        check_counts(widths=self.widths)
        x = x.reshape(x.shape[0], -1)
        if self.normalize:
            x = x * jax.lax.rsqrt((x**2).mean(-1, keepdims=True) + 1e-8)
        for width in self.widths:
            x = 2**0.5 * nn.leaky_relu(EqualizedDense(width, self.lr_multiplier)(x), self.slope)
        return x if self.features is None else 2**0.5 * EqualizedDense(self.features, self.lr_multiplier)(x)
