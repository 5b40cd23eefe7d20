import dataclasses
import functools
import math
from typing import ClassVar

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxgen.bijectors import Additive, Invert, MaskedAutoregressive, Repeat, TanhAffine, made
from jaxgen.bijectors.autoregressive import network, solve
from tests.bijectors.tools import quick, random_variables

ORDERS = {
    "sequential": range(5), "reverse": range(4, -1, -1), (3, 0, 4, 1, 2): (3, 0, 4, 1, 2), "random": None,
}
NETWORKS = {
    "linear": (5, (), 0),
    "linear, context": (5, (), 3),
    "fewer units than coordinates": (9, (4, 3), 0),
    "fewer units than coordinates, context": (9, (2, 5), 2),
    "one unit": (6, (1,), 0),
    "as many units as degrees": (5, (4,), 0),
    "many more units": (5, (64, 41), 0),
    "many more units, context": (5, (64, 41), 2),
    "three layers": (4, (7, 20, 6), 1),
    "two coordinates": (2, (6, 6), 0),
    "one coordinate": (1, (6,), 0),
    "one coordinate, context": (1, (6, 6), 2),
}
networks = pytest.mark.parametrize(("features", "widths", "context"), NETWORKS.values(), ids=NETWORKS)


def data(*shape):
    return jnp.asarray(np.random.default_rng(shape).normal(size=shape))


def affine(widths=(8, 8), **fields):
    return MaskedAutoregressive(TanhAffine(), widths, nn.tanh, **fields)


@pytest.mark.slow
@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_a_coordinate_depends_on_itself_and_on_those_before_it_in_the_order(order):
    bijector, x = affine(order=order), data(1, 5)
    variables = random_variables(bijector, 0, x)
    jacobian = quick(jax.jacobian(lambda x: bijector.apply(variables, x[None], method="forward")[0]))(x[0])
    places = variables["constants"]["order"]["permutation"] if order == "random" else np.asarray(ORDERS[order])
    assert not np.array_equal(places, np.arange(5)) or order == "sequential"
    sorted_jacobian = np.asarray(jacobian)[np.ix_(places, places)]
    np.testing.assert_array_equal(np.triu(sorted_jacobian, 1), 0)
    assert (np.abs(sorted_jacobian[np.tril_indices(5)]) > 1e-4).all()


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_repetitions_have_random_orders_of_their_own(direction):
    variables = quick(functools.partial(Repeat(affine(order="random"), 4).init, method=direction))(
        jax.random.key(0), jnp.zeros((1, 32))
    )
    drawn = np.asarray(variables["constants"]["step"]["order"]["permutation"])
    assert drawn.shape == (4, 32) and len({tuple(row) for row in drawn}) == 4
    np.testing.assert_array_equal(np.sort(drawn, -1), np.tile(np.arange(32), (4, 1)))


def layers_of(variables, degrees, n=2):
    """The masked kernels and the biases."""
    *hidden, head = made.masks(degrees)
    names = [(f"kernel_{i}", f"bias_{i}") for i in range(len(hidden))] + [("head_kernel", "head_bias")]
    masks = (*hidden, np.tile(head, n))
    parameters = variables["params"]
    return [(parameters[k] * mask, parameters[b]) for (k, b), mask in zip(names, masks, strict=True)]


def by_passes(bijector, variables, z, context):
    """The inverse as it is usually done: the whole network once for every coordinate."""
    features, width = z.shape[1], 0 if context is None else context.shape[1]
    layers = layers_of(variables, made.degrees(features, bijector.widths, width))
    x = log_derivative = jnp.zeros_like(z)
    for _ in range(features):
        parameters = network(layers, bijector.activation, x, context, bijector.transformer.num_params)
        x, log_derivative = bijector.transformer.inverse(z, parameters)
    return x, log_derivative.sum(-1)


@networks
def test_the_inverse_is_exact(features, widths, context):
    with jax.enable_x64(True):
        bijector, z, c = affine(widths), data(7, features), data(7, context) if context else None
        variables = random_variables(bijector, 0, z, c, scale=0.5)
        x, log_det = quick(functools.partial(bijector.apply, method="inverse_and_log_det"))(variables, z, c)
        back, there = bijector.apply(variables, x, c)
        assert features == 1 or np.abs(x - z).min() > 1e-6
        np.testing.assert_allclose(back, z, rtol=0, atol=1e-12)
        np.testing.assert_allclose(log_det, -there, rtol=0, atol=1e-12)


def test_the_inverse_is_exact_in_single_precision():
    bijector, x = MaskedAutoregressive(TanhAffine(), (64, 64)), jnp.asarray(data(32, 20), jnp.float32)
    variables = random_variables(bijector, 0, x, scale=0.1)
    z, log_det = bijector.apply(variables, x)
    back, there = quick(functools.partial(bijector.apply, method="inverse_and_log_det"))(variables, z)
    np.testing.assert_allclose(back, x, rtol=0, atol=3e-6)
    np.testing.assert_allclose(there, -log_det, rtol=0, atol=1e-5)


@pytest.mark.slow
@networks
def test_gradients_of_the_inverse(features, widths, context):
    with jax.enable_x64(True):
        bijector, z, c = affine(widths), data(3, features), data(3, context) if context else None
        variables = random_variables(bijector, 0, z, c, scale=0.5)
        variables, weights = jax.tree.map(lambda a: a.astype(z.dtype), variables), data(3, features)

        def value(invert, variables, z, c):
            x, log_det = invert(variables, z, c)
            return (weights * jnp.sin(x)).sum() + (weights[:, 0] * log_det**2).sum()

        def solved(variables, z, c):
            return bijector.apply(variables, z, c, method="inverse_and_log_det")

        gradients = [
            quick(jax.grad(functools.partial(value, invert), (0, 1, 2)))(variables, z, c)
            for invert in (solved, functools.partial(by_passes, bijector))
        ]
        for found, expected in zip(*map(jax.tree.leaves, gradients), strict=True):
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)
        assert all(np.abs(leaf).max() > 1e-3 for leaf in jax.tree.leaves(gradients[0][1:]))


def test_derivatives_of_the_inverse_forwards_and_of_second_order():
    with jax.enable_x64(True):
        bijector, z, c = affine((6, 5)), data(2, 4), data(2, 2)
        variables, along = random_variables(bijector, 0, z, c, scale=0.5), data(2, 4) + 1

        def solved(z, c):
            return bijector.apply(variables, z, c, method="inverse_and_log_det")

        def passed(z, c):
            return by_passes(bijector, variables, z, c)

        def second(invert):
            def gradient(z, c):
                return jax.jit(jax.grad(lambda z: sum((a**2).sum() for a in invert(z, c))))(z)

            pushed = jax.jvp(invert, (z, c), (along, c))
            return pushed, jax.jvp(gradient, (z, c), (along, c)), jax.grad(lambda z: (gradient(z, c) * along).sum())(z)

        results = [jax.tree.leaves(quick(lambda f=f: second(f))()) for f in (solved, passed)]
        for found, expected in zip(*results, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def multiplications(jaxpr):
    """Multiply-adds of all matrix products, times the trip counts of loops."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            ((contracted, _), _), (left, right) = equation.params["dimension_numbers"], equation.invars
            free = math.prod(right.aval.shape) // math.prod(left.aval.shape[i] for i in contracted)
            total += math.prod(left.aval.shape) * free
        times = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
        total += times * sum(map(multiplications, jax.extend.core.jaxprs_in_params(equation.params)))
    return total


def test_the_inverse_does_the_arithmetic_of_one_pass():
    bijector, x = affine((120, 90)), jax.ShapeDtypeStruct((8, 31), jnp.float32)
    variables = jax.eval_shape(bijector.init, jax.random.key(0), x)

    def count(direction):
        jaxpr = jax.make_jaxpr(functools.partial(bijector.apply, method=direction))(variables, x)
        return multiplications(jaxpr.jaxpr)

    assert count("forward") == 8 * (31 * 120 + 120 * 90 + 90 * 2 * 31)
    assert count("forward") < count("inverse") < 1.1 * count("forward")


@pytest.mark.parametrize("transformer", [Additive(), TanhAffine()])
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_a_fresh_one_is_the_identity(transformer, direction):
    x = jnp.asarray(data(4, 3), jnp.float32)
    bijector = MaskedAutoregressive(transformer, (8,))
    variables = jax.jit(bijector.init)(jax.random.key(0), x, x)
    y, log_det = bijector.apply(variables, x, x, method=f"{direction}_and_log_det")
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(log_det, np.zeros(4))


def test_fresh_hidden_units_are_of_unit_variance_however_few_inputs_they_have():
    x = data(20_000, 6)
    bijector = MaskedAutoregressive(TanhAffine(), (300,))
    kernel = jax.jit(bijector.init)(jax.random.key(0), x)["params"]["kernel_0"]
    degrees = made.degrees(6, (300,))[1]
    units = np.asarray(x) @ np.where(made.masks(made.degrees(6, (300,)))[0], kernel, 0)
    for degree in range(1, 6):
        assert 0.75 < np.mean(units[:, degrees == degree] ** 2) < 1.25


@dataclasses.dataclass(frozen=True)
class Reveal:
    """Puts out its parameters: the first one as value, the second as log-derivative."""

    num_params: ClassVar[int] = 2

    def initial_params(self):
        return (1.0, -2.0)

    def forward(self, x, parameters):
        return parameters[..., 0], parameters[..., 1]

    def inverse(self, z, parameters):
        return parameters[..., 0], parameters[..., 1]


@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_the_head_starts_at_the_transformers_values(direction):
    bijector, x = MaskedAutoregressive(Reveal(), (4,)), jnp.zeros((2, 3))
    variables = jax.jit(bijector.init)(jax.random.key(0), x)
    z, log_det = bijector.apply(variables, x, method=f"{direction}_and_log_det")
    np.testing.assert_array_equal(z, 1.0)
    np.testing.assert_array_equal(log_det, -6.0)


def test_events_and_contexts_are_flattened():
    image, context = data(3, 2, 3, 2), data(3, 2, 2, 1)
    bijector = affine()
    variables = random_variables(bijector, 0, image, context)
    z, log_det = bijector.apply(variables, image, context)
    flat, flat_log_det = bijector.apply(variables, image.reshape(3, 12), context.reshape(3, 4))
    assert z.shape == image.shape
    np.testing.assert_array_equal(z.reshape(3, 12), flat)
    np.testing.assert_array_equal(log_det, flat_log_det)


def test_the_inverse_autoregressive_flow_is_the_same_map_backwards():
    z, context = data(3, 4), data(3, 2)
    masked = affine(order="reverse")
    variables = random_variables(masked, 0, z, context)
    inverse = Invert(masked).apply({"params": {"bijector": variables["params"]}}, z, context)
    direct = masked.apply(variables, z, context, method="inverse_and_log_det")
    for found, expected in zip(inverse, direct, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_solves_for_rows_apart():
    """A row with numbers that overflow leaves the others alone."""
    bijector, z = affine((16,)), data(3, 6)
    variables = random_variables(bijector, 0, z)
    degrees = made.degrees(6, (16,))
    layers = layers_of(variables, degrees)
    x, _ = solve(layers, degrees, nn.tanh, TanhAffine(), z, None)
    bad, _ = solve(layers, degrees, nn.tanh, TanhAffine(), z.at[1].set(jnp.nan), None)
    np.testing.assert_allclose(bad[::2], x[::2], rtol=1e-6)


def test_names_what_does_not_fit():
    key, x = jax.random.key(0), jnp.zeros((3, 4))
    with pytest.raises(ValueError, match=r"4 indices, got \(0, 1, 2\)"):
        affine(order=(0, 1, 2)).init(key, x)
    with pytest.raises(ValueError, match="4 indices, got sideways"):
        affine(order="sideways").init(key, x)
    with pytest.raises(ValueError, match="`widths` must be at least 1"):
        affine((3, 0)).init(key, x)
    with pytest.raises(ValueError, match=r"one row or 3, got shape \(2, 5\)"):
        affine().init(key, x, jnp.zeros((2, 5)))
