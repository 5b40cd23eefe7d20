"""The networks of StyleGAN2 (Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN").

A mapping network takes latents z to styles w. The synthesis network, which starts from a learned constant, is modulated
by w in each layer (section 2.2): with the scales s = A w + 1 of the input's channels, the kernel of an example is

    w'_ijk = s_i w_ijk,    w''_ijk = w'_ijk / sqrt(sum_ik w'_ijk^2 + 1e-8)

so that the outputs of inputs of unit variance have unit variance. Scales and norms stand before and after one
convolution with the shared kernel w, which is equal to a convolution with a kernel for each example, and faster. The
image is a sum of images of all resolutions (section 4.1, "skip"), the critic is residual. Resampling as in the authors'
code: transposed convolutions of stride 2, then `smooth`; in the critic `smooth`, then convolutions of stride 2.
"""

from __future__ import annotations

import math
from itertools import accumulate, pairwise

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jaxgen.convolution import conv_general_dilated, depth_to_space
from jaxgen.nets.equalized import NHWC, EqualizedConv, EqualizedDense, equalized_kernel, scaled_leaky_relu
from jaxgen.nets.resampling import downsample, smooth, upsample


def unit_mean_square(x: jax.Array) -> jax.Array:
    """x / sqrt(mean of x^2 over the last axis + 1e-8)."""
    return x * lax.rsqrt((x**2).mean(-1, keepdims=True) + 1e-8)


def modulated_convolution(
    x: jax.Array, kernel: jax.Array, scales: jax.Array, demodulate: bool = True, double: bool = False
) -> jax.Array:
    """A convolution whose kernel is modulated for each example: [B, H, W, C] to [B, H, W, D].

    Args:
        kernel: [k, k, C, D].
        scales: of the input's channels, [B, C].
        demodulate: divide by the norms of the modulated kernels, for each example and output.
        double: transpose a convolution of stride 2, and smooth: [B, H, W, C] to [B, 2H, 2W, D]; k = 3.
    """
    h = x * scales[:, None, None]
    if double:
        h = smooth(4 * _transposed_convolution(h, kernel), (1, 0))
    else:
        h = conv_general_dilated(h, kernel, (1, 1), "SAME", dimension_numbers=NHWC)
    if demodulate:
        norms = lax.rsqrt(jnp.matmul(scales**2, (kernel**2).sum((0, 1)), precision="highest") + 1e-8)
        h = h * norms[:, None, None]
    return h


def _transposed_convolution(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """y_m = sum_i x_i k_(m - 2i) in both directions, m = 0..2n+1, for kernels [3, 3, C, D]: [B, 2H + 2, 2W + 2, D].

    The kernel, padded to 4x4, is a 2x2 kernel to four times the features: outputs 2p + r see the inputs p and p - 1.
    """
    inputs, features = kernel.shape[2:]
    kernel = jnp.pad(kernel, ((0, 1), (0, 1), (0, 0), (0, 0))).reshape(2, 2, 2, 2, inputs, features)
    kernel = kernel[::-1, :, ::-1].transpose(0, 2, 4, 5, 1, 3).reshape(2, 2, inputs, 4 * features)
    y = conv_general_dilated(x, kernel, (1, 1), ((1, 1), (1, 1)), dimension_numbers=NHWC)
    return depth_to_space(y, 2)


class StyleMapping(nn.Module):
    """Latents z [B, L] and a context [B, K] or None to styles w [B, features].

    z and an embedding of the context are scaled to a mean square of one. Without that, and without the equalised rate,
    training is known to fail.

    The collection `batch_stats` has `mean`, the moving average of w in training, towards which samples are truncated.

    Attributes:
        layers: number of dense layers.
        lr_multiplier: of their learning rate.
        decay: of the moving average, per call in training mode.
    """

    features: int = 512
    layers: int = 8
    lr_multiplier: float = 0.01
    decay: float = 0.995

    @nn.compact
    def __call__(self, z: jax.Array, context: jax.Array | None = None) -> jax.Array:
        h = unit_mean_square(z)
        if context is not None:
            embedded = EqualizedDense(self.features, name="embedding")(context)
            h = jnp.concatenate([h, unit_mean_square(embedded)], -1)
        for _ in range(self.layers):
            h = scaled_leaky_relu(EqualizedDense(self.features, self.lr_multiplier)(h))
        mean = self.variable("batch_stats", "mean", jnp.zeros, h.shape[-1:], h.dtype)
        if self.is_mutable_collection("batch_stats") and not self.is_initializing():
            mean.value = self.decay * mean.value + (1 - self.decay) * lax.stop_gradient(h.mean(0))
        return h


class StyleLayer(nn.Module):
    """Modulated convolution, noise, bias and activation: x [B, H, W, C] and w [B, W] to [B, H, W, features].

    The noise, [B, H, W, 1] of the output's resolution, is the same for all channels, times a learned strength.

    Attributes:
        double: doubles the resolution.
    """

    features: int
    double: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, w: jax.Array, noise: jax.Array) -> jax.Array:
        scales = EqualizedDense(x.shape[-1], bias_init=1.0, name="scales")(w)
        kernel = equalized_kernel(self, (3, 3, x.shape[-1], self.features))
        x, kernel, scales = nn.dtypes.promote_dtype(x, kernel, scales)
        h = modulated_convolution(x, kernel, scales, double=self.double)
        h += (self.param("strength", nn.initializers.zeros, ()) * noise).astype(h.dtype)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return scaled_leaky_relu(h + bias.astype(h.dtype))


class ToImage(nn.Module):
    """A modulated 1x1 convolution without demodulation: x [B, H, W, C] and w [B, W] to [B, H, W, channels]."""

    channels: int

    @nn.compact
    def __call__(self, x: jax.Array, w: jax.Array) -> jax.Array:
        scales = EqualizedDense(x.shape[-1], bias_init=1.0, name="scales")(w)
        kernel = equalized_kernel(self, (1, 1, x.shape[-1], self.channels))
        x, kernel, scales = nn.dtypes.promote_dtype(x, kernel, scales)
        h = modulated_convolution(x, kernel, scales, demodulate=False)
        return h + self.param("bias", nn.initializers.zeros, (self.channels,)).astype(h.dtype)


class StyleSynthesis(nn.Module):
    """Styles [B, num_styles, W], from the lowest resolution to the highest, to images [B, h 2^n, w 2^n, channels].

    The noise of the layers is drawn from the stream `noise`. Without this stream it is fixed, in the collection
    `constants`.

    Attributes:
        start: height and width of the learned constant.
        widths: channels at each resolution, from the lowest: n + 1 numbers.
    """

    channels: int
    start: tuple[int, int] = (4, 4)
    widths: tuple[int, ...] = (512, 512, 512, 512, 256, 128, 64)

    @property
    def num_styles(self) -> int:
        """Two for each resolution. The image of a resolution shares its style with the first layer of the next one."""
        return 2 * len(self.widths)

    @nn.compact
    def __call__(self, styles: jax.Array) -> jax.Array:
        styles = list(jnp.moveaxis(styles, 1, 0))
        constant = self.param("constant", nn.initializers.normal(1.0), (*self.start, self.widths[0]))
        x = jnp.broadcast_to(constant.astype(styles[0].dtype), (styles[0].shape[0], *constant.shape))
        noise = self._noise(x.shape[0])
        x = StyleLayer(self.widths[0])(x, styles[0], noise[0])
        image = ToImage(self.channels)(x, styles[1])
        for i, width in enumerate(self.widths[1:]):
            x = StyleLayer(width, double=True)(x, styles[2 * i + 1], noise[2 * i + 1])
            x = StyleLayer(width)(x, styles[2 * i + 2], noise[2 * i + 2])
            image = upsample(image) + ToImage(self.channels)(x, styles[2 * i + 3])
        return image

    def _noise(self, n: int) -> list[jax.Array]:
        """The noise of each layer, [n or 1, H, W, 1]; all of it is drawn in one call, which compiles faster."""
        height, width = self.start
        shapes = [(height << i, width << i, 1) for i in range(len(self.widths)) for _ in range(1 + (i > 0))]
        sizes = [math.prod(shape) for shape in shapes]
        fixed = self.variable("constants", "noise", lambda: jax.random.normal(self.make_rng("params"), (1, sum(sizes))))
        flat = fixed.value
        if self.has_rng("noise"):
            flat = jax.random.normal(self.make_rng("noise"), (n, sum(sizes)))
        parts = jnp.split(flat, list(accumulate(sizes))[:-1], axis=1)
        return [part.reshape(-1, *shape) for part, shape in zip(parts, shapes, strict=True)]


class StyleGenerator(nn.Module):
    """Latents and a context to an image, in two steps."""

    mapping: nn.Module
    synthesis: StyleSynthesis

    def __call__(self, inputs: tuple[jax.Array, jax.Array | None]) -> jax.Array:
        return self.synthesize(self.repeat(self.map(inputs)))

    def map(self, inputs: tuple[jax.Array, jax.Array | None]) -> jax.Array:
        """z [B, L] and a context to w [B, W]."""
        return self.mapping(*inputs)

    def synthesize(self, styles: jax.Array) -> jax.Array:
        """Styles [B, num_styles, W] to images."""
        return self.synthesis(styles)

    def repeat(self, w: jax.Array) -> jax.Array:
        """The same w for each layer, [B, W] to [B, num_styles, W]."""
        return jnp.repeat(w[:, None], self.synthesis.num_styles, 1)


class MinibatchDeviation(nn.Module):
    """Appends one channel, the mean standard deviation within a group of examples: [B, H, W, C] to [B, H, W, C + 1].

    Source: Karras et al. 2018, section 3, with the groups of the authors' code.

    Attributes:
        group: examples in a group; the greatest common divisor with the batch if it does not divide that.
    """

    group: int = 4

    @property
    def examples_interact(self) -> bool:
        return self.group > 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        n, height, width, _ = x.shape
        size = math.gcd(n, self.group)
        grouped = x.reshape(size, n // size, -1)
        deviation = jnp.sqrt(grouped.var(0) + 1e-8).mean(-1)
        channel = jnp.broadcast_to(jnp.tile(deviation, size)[:, None, None, None], (n, height, width, 1))
        return jnp.concatenate([x, channel], -1)


class StyleCritic(nn.Module):
    """Images [B, h 2^n, w 2^n, C] to features [B, widths[-1]].

    Attributes:
        widths: channels at each resolution, from the highest: n + 1 numbers.
        group: of `MinibatchDeviation`; 1: none.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512, 512, 512, 512)
    group: int = 4

    @property
    def examples_interact(self) -> bool:
        return self.group > 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = scaled_leaky_relu(EqualizedConv(self.widths[0], 1)(x))
        for width, after in pairwise(self.widths):
            skip = EqualizedConv(after, 1, use_bias=False)(downsample(x))
            h = scaled_leaky_relu(EqualizedConv(width)(x))
            h = scaled_leaky_relu(EqualizedConv(after, strides=2, padding="VALID")(smooth(h, (2, 2))))
            x = (h + skip) / math.sqrt(2)
        if self.group > 1:
            x = MinibatchDeviation(self.group)(x)
        x = scaled_leaky_relu(EqualizedConv(self.widths[-1])(x))
        return scaled_leaky_relu(EqualizedDense(self.widths[-1])(x.reshape(x.shape[0], -1)))


def style_widths(levels: int, width: int, most: int = 512) -> tuple[int, ...]:
    """Channels at `levels` resolutions, from the highest: `width`, doubled at each halving up to `most`."""
    return tuple(min(width << i, most) for i in range(levels))
