"""Autoregressive bijectors: each coordinate moves by a map whose parameters a network computes from those before it."""

from __future__ import annotations

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
"""Of each layer, the head's last: kernel [before, after], zero where nothing is connected, and bias [after]."""

# The two directions sum the same products in different order: in fewer bits they would not be inverse to each other.
_matmul = functools.partial(jnp.matmul, precision=lax.Precision.HIGHEST)


def network(layers: Layers, activation: Callable, x: Array, context: Array | None, n: int) -> Array:
    """One pass of a masked network: x [B, D] and context [B, K] to the n parameters of each coordinate, [B, D, n]."""
    h = x if context is None else jnp.concatenate([context, x], -1)
    for kernel, bias in layers[:-1]:
        h = activation(_matmul(h, kernel) + bias)
    kernel, bias = layers[-1]
    p = _matmul(h, kernel) + bias
    return jnp.moveaxis(p.reshape(p.shape[0], n, -1), 1, -1)


def solve(
    layers: Layers,
    degrees: Sequence[np.ndarray],
    activation: Callable,
    transformer: Transformer,
    z: Array,
    context: Array | None = None,
) -> ValueAndLogDet:
    """Finds x with `z = T(x; network(x, context))`: z [B, D], context [B, K] to x and log|dx_i/dz_i|, both [B, D].

    Coordinate by coordinate, yet every hidden unit is computed once, when the inputs that it may see are known
    (`_sweep`): all D steps together do the arithmetic of about one pass of the network.

    Derivatives are those of the equation at its solution: one pass of the network there gives the slopes of all units,
    and what remains is a triangular system, which a second sweep solves. No step's hidden units are kept.

    Args:
        degrees: those of the layers' masks, from `made.degrees`: those of hidden layers are sorted.
    """
    n, features, given = transformer.n, z.shape[1], 0 if context is None else context.shape[1]
    turns = [_windows(d, np.arange(features)) for d in degrees[1:-1]]

    def transformed(layers, x, context):
        return transformer.forward(x, network(layers, activation, x, context, n))

    def kernels(layers):
        """Without the context's rows, and the head's columns coordinate by coordinate."""
        first, *rest = (kernel for kernel, _ in layers)
        *hidden, head = first[given:], *rest
        return *hidden, jnp.swapaxes(head.reshape(-1, n, features), 1, 2).reshape(-1, features * n)

    @jax.custom_jvp
    def solution(layers, z, context):
        offsets = [bias[:, None] for _, bias in layers]
        if context is not None:
            offsets[0] = offsets[0] + _matmul(context, layers[0][0][:given]).T
        *offsets, last = offsets

        def unit(sums, offset):
            return activation(sums + offset)

        def coordinate(sums, now):
            z_i, offset = now
            x_i, log_derivative = transformer.inverse(z_i, (sums + offset).T)
            return x_i[None], log_derivative

        xs = (z.T, jnp.swapaxes(last.reshape(n, features, -1), 0, 1))
        x, log_derivative = _sweep(kernels(layers), turns, unit, offsets, coordinate, xs)
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

        # dz = by_x dx + by_p dp, where dp is the linear network of dx: a lower triangular system, and its transpose
        def forwards(_, right):
            def coordinate(p_dot, now):
                right, by_x, by_p = now
                return ((right - (by_p * p_dot).sum(0)) / by_x)[None], None

            xs = (right.T, by_x, by_p)
            return _sweep(kernels(layers), turns, jnp.multiply, slopes, coordinate, xs)[0].T

        def backwards(_, right):
            def coordinate(sums, now):
                right, by_x, by_p = now
                solved = (right - sums[0]) / by_x
                return by_p * solved, solved

            transposed = [kernel.T for kernel in reversed(kernels(layers))]
            turns_back = [_windows(d, np.arange(1, features + 1)) for d in degrees[-2:0:-1]]
            xs = (right.T, by_x, by_p)
            return _sweep(transposed, turns_back, jnp.multiply, slopes[::-1], coordinate, xs, reverse=True)[1].T

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
    """Runs a masked network whose inputs come from its own outputs, each unit when what it sees is known.

    At coordinate i the units of its window are computed layer by layer, `unit(sums, terms)`, both [units, B or 1], then
    from the sums of its outputs, [n, B], its inputs [m, B]: `coordinate(sums, xs at i) -> (inputs, anything)`.

    Args:
        kernels: [before, after] of each layer, the head's last; the first one's rows and the last one's columns are
            sorted by coordinate.
        windows: for each hidden layer the units to compute at each coordinate, consecutive, [D, size].
        terms: of each hidden layer, [units, B or 1].
        xs: arrays [D, ..., B or 1], the first one [D, B].
        reverse: from the last coordinate to the first.

    Returns:
        The inputs [D m, B], and what else `coordinate` gave, stacked by coordinate.
    """
    *kernels, head = (kernel.T for kernel in kernels)
    features, rows = xs[0].shape
    hidden = [(w[:, 0], k[w], t[w]) for w, k, t in zip(windows, kernels, terms, strict=True)]

    # Units go first and rows last, so that what a step computes is contiguous. What reads a unit before its turn, when
    # it is zero or computed from part of its inputs, has no connection to it.
    def step(values, now):
        i, hidden, head, xs = now
        values = list(values)
        for index, (first, kernel, term) in enumerate(hidden):
            h = unit(_matmul(kernel, values[index]), term)
            values[index + 1] = lax.dynamic_update_slice(values[index + 1], h, (first, 0))
        inputs, other = coordinate(_matmul(head, values[-1]), xs)
        values[0] = lax.dynamic_update_slice(values[0], inputs, (i * inputs.shape[0], 0))
        return values, other

    empty = jnp.zeros_like(xs[0][:1], head.dtype)
    values = [jnp.broadcast_to(empty, (kernel.shape[1], rows)) for kernel in (*kernels, head)]
    now = (np.arange(features), hidden, head.reshape(features, -1, head.shape[1]), xs)
    values, other = lax.scan(step, vary_like(values, now), now, reverse=reverse)
    return values[0], other


def _windows(degrees: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Consecutive units [len(wanted), size] that for each wanted degree are all of that degree, and neighbours."""
    first, last = np.searchsorted(degrees, wanted), np.searchsorted(degrees, wanted, "right")
    size = max(1, *(last - first))
    return np.minimum(first, len(degrees) - size)[:, None] + np.arange(size)


class MaskedAutoregressive(Bijector):
    """`z_i = T(x_i; p(x_1, ..., x_{i-1}, context))`, with the parameters p from a masked network, a MADE.

    `forward` is fast, one pass of the network; `inverse` takes as many steps as there are coordinates, each of which
    computes its part of the network (`solve`), and so do the gradients of `inverse`. `Invert` of this is the inverse
    autoregressive flow, where it is the other way round.

    Events of any shape are flattened, and contexts too. Fresh, it is the transformer's starting map.

    Sources: Papamakarios et al. 2017 (arXiv:1705.07057), Kingma et al. 2016 (arXiv:1606.04934).

    Attributes:
        transformer: an elementwise map: `AdditiveTransformer()`, `AffineTransformer()`, ... (`transformers.py`).
        widths: units of each hidden layer; a coordinate sees all those before it where they are at least as many as
            the event's coordinates.
        activation: an elementwise function, after each hidden layer.
        order: which coordinate comes first, second, ...: as they are, in "reverse", a tuple of indices, or "random":
            drawn at `init` and kept in the collection `constants`, so that under `Repeat` each repetition has its own.

    Raises:
        ValueError: a tuple that is no permutation of the event's coordinates, a width below 1, or a context of another
            batch.
    """

    transformer: Any
    widths: tuple[int, ...] = (128, 128)
    activation: Callable = nn.relu
    order: Literal["sequential", "reverse", "random"] | tuple[int, ...] = "sequential"

    def _layers(self, degrees: Sequence[np.ndarray], dtype: jnp.dtype) -> Layers:
        start, last = self.transformer.start(), len(degrees) - 2

        def kernel_init(mask):
            # A unit has as many inputs as its mask leaves, not as the layer before has.
            std = 1 / np.sqrt(np.maximum(mask.sum(0), 1))
            return lambda key: std.astype(np.float32) * jax.random.normal(key, mask.shape, jnp.float32)

        layers = []
        for index, mask in enumerate(made.masks(degrees)):
            if index < last:
                kernel = self.param(f"kernel_{index}", kernel_init(mask))
                bias = self.param(f"bias_{index}", nn.initializers.zeros, mask.shape[1:], jnp.float32)
            else:
                mask = np.tile(mask, len(start))
                kernel = self.param("head_kernel", nn.initializers.zeros, mask.shape, jnp.float32)
                bias = self.param("head_bias", lambda _: jnp.repeat(jnp.asarray(start, jnp.float32), degrees[-1].size))
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
            parameters = network(layers, self.activation, x, context, self.transformer.n)
            y, log_derivative = self.transformer.forward(x, parameters)
        if order is not None:
            y = order.inverse(y)
        return y.reshape(y.shape[0], *event), sum_over_event(log_derivative)

    def forward_and_log_det(self, x: Array, context: Array | None = None) -> ValueAndLogDet:
        return self._both(x, context, inverse=False)

    def inverse_and_log_det(self, z: Array, context: Array | None = None) -> ValueAndLogDet:
        return self._both(z, context, inverse=True)
