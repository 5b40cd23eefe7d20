"""Autoregressive bijectors: a network computes the parameters of each coordinate's map from the previous ones."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

from jaxgen.bijectors import made
from jaxgen.bijectors.bijector import Array, Bijector, ValueAndLogDet, sum_over_event
from jaxgen.bijectors.coupling import fit_context
from jaxgen.bijectors.rearrange import Permute
from jaxgen.bijectors.transformers import Transformer
from jaxgen.precision import at_least_float32
from jaxgen.sharding import vary_like

Layers = Sequence[tuple[Array, Array]]
"""For each layer, the head last: kernel [inputs, outputs], zero where units are not connected, and bias [outputs]."""

# The two directions sum the same products in different order: at a lower precision they would not be inverse.
_matmul = functools.partial(jnp.matmul, precision=lax.Precision.HIGHEST)


def network(layers: Layers, activation: Callable, x: Array, context: Array | None, num_params: int) -> Array:
    """One pass of a masked network: x [B, D] and context [B, K] to the coordinates' parameters [B, D, num_params]."""
    h = x if context is None else jnp.concatenate([context, x], -1)
    for kernel, bias in layers[:-1]:
        h = activation(_matmul(h, kernel) + bias)
    kernel, bias = layers[-1]
    p = _matmul(h, kernel) + bias
    return jnp.moveaxis(p.reshape(p.shape[0], num_params, -1), 1, -1)


def solve(
    layers: Layers,
    degrees: Sequence[np.ndarray],
    activation: Callable,
    transformer: Transformer,
    z: Array,
    context: Array | None = None,
) -> ValueAndLogDet:
    """Solves `z = T(x; network(x, context))` for x: z [B, D], context [B, K] to x and log|dx_i/dz_i|, both [B, D].

    It goes coordinate by coordinate, but computes every hidden unit once, when its inputs are known (`_sweep`): all D
    steps together do the arithmetic of about one pass of the network.

    Derivatives are those of the implicit function: one pass of the network at the solution gives the slopes of all
    units, and a second sweep solves the remaining triangular system. Hidden units of the steps are not stored.

    Args:
        degrees: the degrees of all layers from `made.degrees`, sorted in hidden layers.
    """
    n, features, context_features = transformer.num_params, z.shape[1], 0 if context is None else context.shape[1]
    windows = [_windows(d, np.arange(features)) for d in degrees[1:-1]]

    def transformed(layers, x, context):
        return transformer.forward(x, network(layers, activation, x, context, n))

    def kernels(layers):
        """Kernels without the inputs from the context; the head's outputs are sorted by coordinate."""
        first, *rest = (kernel for kernel, _ in layers)
        *hidden, head = first[context_features:], *rest
        return *hidden, jnp.swapaxes(head.reshape(-1, n, features), 1, 2).reshape(-1, features * n)

    @jax.custom_jvp
    def solution(layers, z, context):
        offsets = [bias[:, None] for _, bias in layers]
        if context is not None:
            offsets[0] = offsets[0] + _matmul(context, layers[0][0][:context_features]).T
        *offsets, last = offsets

        def unit(sums, offset):
            return activation(sums + offset)

        def coordinate(sums, slices):
            z_i, offset = slices
            x_i, log_derivative = transformer.inverse(z_i, (sums + offset).T)
            return x_i[None], log_derivative

        xs = (z.T, jnp.swapaxes(last.reshape(n, features, -1), 0, 1))
        x, log_derivative = _sweep(kernels(layers), windows, unit, offsets, coordinate, xs)
        return x.T, log_derivative.T

    @solution.defjvp
    def tangent(primals, tangents):
        (layers, z, context), (layers_dot, z_dot, context_dot) = primals, tangents
        x, log_derivative = solution(layers, z, context)
        slopes, h = [], x if context is None else jnp.concatenate([context, x], -1)
        for kernel, bias in layers[:-1]:
            sums = _matmul(h, kernel) + bias
            h, slope = jax.jvp(activation, (sums,), (jnp.ones_like(sums),))
            slopes.append(slope.T)
        parameters = network(layers, activation, x, context, n)
        by_x, by_p = jax.vjp(lambda *xp: transformer.forward(*xp)[0], x, parameters)[1](jnp.ones_like(x))
        by_x, by_p = by_x.T, jnp.moveaxis(by_p, 0, -1)

        # dz = by_x dx + by_p dp, with dp the linearised network's output at dx: a lower triangular system
        def forwards(_, right):
            def coordinate(p_dot, slices):
                right, by_x, by_p = slices
                return ((right - (by_p * p_dot).sum(0)) / by_x)[None], None

            xs = (right.T, by_x, by_p)
            return _sweep(kernels(layers), windows, jnp.multiply, slopes, coordinate, xs)[0].T

        def backwards(_, right):
            def coordinate(sums, slices):
                right, by_x, by_p = slices
                solved = (right - sums[0]) / by_x
                return by_p * solved, solved

            transposed = [kernel.T for kernel in reversed(kernels(layers))]
            reversed_windows = [_windows(d, np.arange(1, features + 1)) for d in degrees[-2:0:-1]]
            xs = (right.T, by_x, by_p)
            sweep = _sweep(transposed, reversed_windows, jnp.multiply, slopes[::-1], coordinate, xs, reverse=True)
            return sweep[1].T

        def by_all(x_dot, layers_dot, context_dot):
            return jax.jvp(transformed, (layers, x, context), (layers_dot, x_dot, context_dot))[1]

        def by_x_alone(x_dot):
            return jax.jvp(lambda x: transformed(layers, x, context)[0], (x,), (x_dot,))[1]

        at_x, _ = by_all(jnp.zeros_like(x), layers_dot, context_dot)
        x_dot = lax.custom_linear_solve(by_x_alone, z_dot - at_x, forwards, backwards)
        _, log_dot = by_all(x_dot, layers_dot, context_dot)
        return (x, log_derivative), (x_dot, -log_dot)

    return solution(layers, z, context)


def _sweep(
    kernels: Sequence[Array],
    windows: Sequence[np.ndarray],
    unit: Callable,
    terms: Sequence[Array],
    coordinate: Callable,
    xs: tuple[Array, ...],
    reverse: bool = False,
) -> tuple[Array, Any]:
    """Runs a masked network whose inputs depend on its own outputs, computing each unit when its inputs are known.

    At coordinate i it computes the units of its window layer by layer, `unit(sums, terms)`, both [units, B or 1], then
    from the sums of its outputs [n, B] its inputs [m, B]: `coordinate(sums, xs at i) -> (inputs, other outputs)`.

    Args:
        kernels: [inputs, outputs] of each layer, the head last; the first one's inputs and the last one's outputs are
            sorted by coordinate.
        windows: for each hidden layer the consecutive units to compute at each coordinate, [D, size].
        terms: for each hidden layer, [units, B or 1].
        xs: arrays [D, ..., B or 1], the first one [D, B].
        reverse: runs from the last coordinate to the first.

    Returns:
        The inputs [D m, B], and the other outputs of `coordinate`, stacked by coordinate.
    """
    *kernels, head = (kernel.T for kernel in kernels)
    features, batch_size = xs[0].shape
    hidden = [(w[:, 0], k[w], t[w]) for w, k, t in zip(windows, kernels, terms, strict=True)]

    # The units' axis is first and the batch's last, so that each step's results are contiguous. A unit is read before
    # all its inputs are known only through connections of weight zero.
    def step(values, slices):
        i, hidden, head, xs = slices
        values = list(values)
        for index, (first, kernel, term) in enumerate(hidden):
            h = unit(_matmul(kernel, values[index]), term)
            values[index + 1] = lax.dynamic_update_slice(values[index + 1], h, (first, 0))
        inputs, other = coordinate(_matmul(head, values[-1]), xs)
        values[0] = lax.dynamic_update_slice(values[0], inputs, (i * inputs.shape[0], 0))
        return values, other

    empty = jnp.zeros_like(xs[0][:1], head.dtype)
    values = [jnp.broadcast_to(empty, (kernel.shape[1], batch_size)) for kernel in (*kernels, head)]
    slices = (np.arange(features), hidden, head.reshape(features, -1, head.shape[1]), xs)
    values, other = lax.scan(step, vary_like(values, slices), slices, reverse=reverse)
    return values[0], other


def _windows(degrees: np.ndarray, selected: np.ndarray) -> np.ndarray:
    """For each selected degree the consecutive units of that degree, padded by neighbours, [len(selected), size]."""
    first, last = np.searchsorted(degrees, selected), np.searchsorted(degrees, selected, "right")
    size = max(1, *(last - first))
    return np.minimum(first, len(degrees) - size)[:, None] + np.arange(size)


class MaskedAutoregressive(Bijector):
    """`z_i = T(x_i; p(x_1, ..., x_{i-1}, context))`, with the parameters p from a masked network, a MADE.

    `forward` (data to latents) is fast, one pass of the network; `inverse` and its gradients take one step per
    coordinate, each of which computes a part of the network (`solve`). `Invert(MaskedAutoregressive(...))` is the
    inverse autoregressive flow, with the costs exchanged.

    Events and contexts of any shape are flattened. At initialisation it is the transformer's initial map.

    Sources: Papamakarios et al. 2017 (arXiv:1705.07057), Kingma et al. 2016 (arXiv:1606.04934).

    Attributes:
        transformer: an elementwise map: `Additive()`, `TanhAffine()`, ... (`transformers.py`).
        widths: units of each hidden layer; with at least as many as the event has coordinates, a coordinate depends on
            all previous ones.
        activation: an elementwise function, after each hidden layer.
        order: of the coordinates: "sequential", "reverse", a tuple of indices, or "random": drawn at `init` and kept in
            the collection `constants`, with one per repetition under `Repeat`.

    Raises:
        ValueError: a tuple that is not a permutation of the event's coordinates, a width below 1, or a context of
            another batch size.
    """

    transformer: Any
    widths: tuple[int, ...] = (128, 128)
    activation: Callable = nn.relu
    order: Literal["sequential", "reverse", "random"] | tuple[int, ...] = dataclasses.field(
        default="sequential", kw_only=True
    )

    def _layers(self, degrees: Sequence[np.ndarray], dtype: jnp.dtype) -> Layers:
        initial_params, last = self.transformer.initial_params(), len(degrees) - 2

        def kernel_init(mask):
            # the fan-in of a unit is the number of its unmasked inputs
            std = 1 / np.sqrt(np.maximum(mask.sum(0), 1))
            return lambda key: std.astype(np.float32) * jax.random.normal(key, mask.shape, jnp.float32)

        layers = []
        for index, mask in enumerate(made.masks(degrees)):
            if index < last:
                kernel = self.param(f"kernel_{index}", kernel_init(mask))
                bias = self.param(f"bias_{index}", nn.initializers.zeros, mask.shape[1:], jnp.float32)
            else:
                mask = np.tile(mask, len(initial_params))
                biases = np.repeat(np.asarray(initial_params, np.float32), degrees[-1].size)
                kernel = self.param("head_kernel", nn.initializers.zeros, mask.shape, jnp.float32)
                bias = self.param("head_bias", lambda _: jnp.asarray(biases))
            layers.append((jnp.where(mask, kernel, 0).astype(dtype), bias.astype(dtype)))
        return layers

    @nn.compact
    def _both(self, x: Array, context: Array | None, inverse: bool) -> ValueAndLogDet:
        event, x = x.shape[1:], at_least_float32(x).reshape(x.shape[0], -1)
        if context is not None:
            context = fit_context(context.reshape(context.shape[0], -1), x.shape).astype(x.dtype)
        order = Permute(self.order, name="order") if self.order != "sequential" else None
        if order is not None:
            x = order.forward(x)
        degrees = made.degrees(x.shape[1], self.widths, 0 if context is None else context.shape[1])
        layers = self._layers(degrees, x.dtype)
        if inverse:
            y, log_derivative = solve(layers, degrees, self.activation, self.transformer, x, context)
        else:
            parameters = network(layers, self.activation, x, context, self.transformer.num_params)
            y, log_derivative = self.transformer.forward(x, parameters)
        if order is not None:
            y = order.inverse(y)
        return y.reshape(y.shape[0], *event), sum_over_event(log_derivative)

    def forward_and_log_det(self, x: Array, context: Array | None = None) -> ValueAndLogDet:
        return self._both(x, context, inverse=False)

    def inverse_and_log_det(self, z: Array, context: Array | None = None) -> ValueAndLogDet:
        return self._both(z, context, inverse=True)
