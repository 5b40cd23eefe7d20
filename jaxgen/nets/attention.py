"""Self-attention between the positions of an image."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.convolution import Conv


def max_pool(x: jax.Array) -> jax.Array:
    """Halves the resolution: [B, H, W, C] to [B, H/2, W/2, C]."""
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).max((2, 4))


class SelfAttention(nn.Module):
    """x + gain o(x), [B, H, W, C] to itself, with an initial gain of zero.

    o is single-head attention over all positions, with 1x1 convolutions to queries and keys of C/8 channels, to values
    of C/2 channels, and back to C channels. Source: Zhang et al. 2019, "Self-Attention Generative Adversarial
    Networks", section 3; as in the authors' code, convolutions have no bias, and keys and values are max-pooled by 2 x
    2 if the resolution is even.

    Attributes:
        conv: the class of the convolutions; `SpectralConv` in the paper.
    """

    conv: Callable[..., nn.Module] = Conv

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        b, h, w, c = x.shape
        inner, outer = max(1, c // 8), max(1, c // 2)

        def project(features, name, pooled):
            y = self.conv(features, 1, use_bias=False, name=name)(x)
            y = max_pool(y) if pooled and h % 2 == w % 2 == 0 else y
            return y.reshape(b, -1, features)

        query, key, value = project(inner, "query", False), project(inner, "key", True), project(outer, "value", True)
        scores = jnp.einsum("bqc,bkc->bqk", query, key, preferred_element_type=jnp.promote_types(x.dtype, jnp.float32))
        attended = (nn.softmax(scores).astype(value.dtype) @ value).reshape(b, h, w, outer)
        gain = self.param("gain", nn.initializers.zeros, ())
        return x + gain.astype(x.dtype) * self.conv(c, 1, use_bias=False, name="out")(attended)
