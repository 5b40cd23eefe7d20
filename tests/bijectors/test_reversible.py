"""`Repeat` without stored activations: the gradients of the stored ones, in memory that does not grow with depth."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from jaxgen.bijectors import (
    ActNorm, Affine, Bijector, Chain, Checkerboard, Coupling, Elementwise, FirstHalf, Invert, InvertibleLinear, Permute,
    Repeat, Squeeze, TanhAffine, factor_out, reconstruction_error, reverses,
)
from jaxgen.contracts import Clock
from jaxgen.convolution import Conv
from jaxgen.data import source
from jaxgen.distributions import StandardNormal, UniformDequantization
from jaxgen.models.flows import Flow
from jaxgen.nets.conv_net import ConvNet
from jaxgen.nets.mlp import MLP
from jaxgen.nets.spectral import SpectralDense
from jaxgen.training import init_state, make_train_step, many_steps
from tests.bijectors.tools import quick, random_variables, randomise

both_directions = pytest.mark.parametrize("direction", ["forward_and_log_det", "inverse_and_log_det"])


def coupling(flip=False):
    return Coupling(TanhAffine(), MLP((5,), nn.tanh), flip=flip)


def image_coupling(mask=None, flip=False):
    return Coupling(TanhAffine(), nn.Sequential((Conv(4), nn.tanh)), mask, flip=flip)


def vector_step():
    return Chain((ActNorm(), Permute(), coupling(), coupling(flip=True)))


def image_step():
    return Chain((
        ActNorm(),
        Chain((image_coupling(Checkerboard()), Permute())),
        Invert(Chain((ActNorm(), image_coupling(Checkerboard(), flip=True)))),
    ))


def shared_step():
    """One network in two couplings, one coupling in two places."""
    network, twice = MLP((5,), nn.tanh), coupling()
    first, second = (Coupling(TanhAffine(), network, flip=flip) for flip in (False, True))
    return Chain((first, second, twice, Permute("reverse"), twice))


class Constant(Elementwise):
    """Scales by a float constant that `init` drew."""

    @nn.compact
    def _scale(self):
        return self.variable("constants", "scale", lambda: jax.random.uniform(self.make_rng("params"))).value

    def _forward(self, x):
        scale = self._scale()
        return x * jnp.exp(scale), jnp.full(x.shape, scale)

    def _inverse(self, z):
        scale = self._scale()
        return z * jnp.exp(-scale), jnp.full(z.shape, -scale)


STEPS = {
    "vectors": (vector_step(), (5,), (2,)),
    "images": (image_step(), (3, 2, 2), (3, 2, 1)),
    "no chain": (coupling(), (4,), None),
    "no variables": (Affine(0.5, -1.5), (3,), None),
    "float constants": (Chain((Constant(), coupling())), (4,), None),
    "factor out": (factor_out(image_coupling(), nn.Sequential((Conv(4), nn.tanh))), (2, 2, 4), (2,)),
    "shared": (shared_step(), (4,), None),
    "repeat inside": (Chain((Repeat(vector_step(), 2), ActNorm())), (4,), (2,)),
    "reversing repeat inside": (Chain((coupling(), Repeat(coupling(), 2, "reverse"))), (4,), (2,)),
}


def within(step, gradient):
    """A repeat among others."""
    return Chain((Affine(0.1, 1.5), Repeat(step, 3, gradient), ActNorm()))


def gradients(bijector, direction):
    """The value of some function of everything that comes out, and its gradients in everything that goes in."""

    @quick
    def at(floating, fixed, x, context):
        def total(floating, x, context):
            variables = jax.tree.map(lambda a, b: b if a is None else a, floating, fixed, is_leaf=lambda a: a is None)
            y, log_det = bijector.apply(variables, x, context, method=direction)
            return jnp.sin(y).sum() + (jnp.arange(1, len(x) + 1) * log_det).sum()

        return jax.jit(jax.value_and_grad(total, (0, 1, 2)))(floating, x, context)

    def of(variables, x, context):
        floating = jax.tree.map(lambda a: a if jnp.issubdtype(a.dtype, jnp.floating) else None, variables)
        return jax.device_get(at(floating, variables, x, context))

    return of


def in_float64(variables):
    return jax.tree.map(lambda a: a.astype(float) if jnp.issubdtype(a.dtype, jnp.floating) else a, variables)


def assert_same(results, expected):
    """Equal to 1e-9, in float64."""
    assert jax.tree.structure(results) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(results), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype == np.float64
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


# the other direction of these takes the same way as that of the others
SLOW = {("images", "inverse"), ("no chain", "inverse"), ("shared", "forward"), ("repeat inside", "forward"),
        ("reversing repeat inside", "inverse")}  # fmt: skip


@pytest.mark.parametrize(("name", "direction"), [
    pytest.param(n, f"{d}_and_log_det", marks=pytest.mark.slow if (n, d) in SLOW else ())
    for n in STEPS for d in ("forward", "inverse")
])
def test_gradients_are_the_stored_ones(name, direction):
    step, event, context = STEPS[name]
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        x = rng.normal(size=(3, *event))
        context = None if context is None else rng.normal(size=(3, *context))
        variables = in_float64(random_variables(within(step, "store"), 0, x, context))
        stored, rebuilt = (
            gradients(within(step, way), direction)(variables, x, context) for way in ("store", "reverse")
        )
    assert context is None or np.abs(stored[1][2]).max() > 1e-3
    assert_same(rebuilt, stored)


@pytest.mark.parametrize(
    "direction", ["forward_and_log_det", pytest.param("inverse_and_log_det", marks=pytest.mark.slow)]
)
def test_rematerialized_gradients_are_the_stored_ones(direction):
    step, event, context = STEPS["vectors"]
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        x, context = rng.normal(size=(3, *event)), rng.normal(size=(3, *context))
        variables = in_float64(random_variables(within(step, "store"), 0, x, context))
        stored, again = (
            gradients(within(step, way), direction)(variables, x, context) for way in ("store", "rematerialize")
        )
    assert_same(again, stored)


@pytest.mark.slow
def test_gradients_of_invertible_linear_maps_are_the_stored_ones():
    step = Chain((ActNorm(), InvertibleLinear(), image_coupling()))
    with jax.enable_x64(True):
        x = np.random.default_rng(0).normal(size=(3, 2, 2, 4))
        variables = quick(within(step, "store").init)(jax.random.key(0), x)
        # little noise: matrices of random factors have hardly an inverse
        params = randomise({"params": variables["params"]}, 0, scale=0.1)
        variables = in_float64({**variables, **params})
        stored, rebuilt = (
            gradients(within(step, way), "forward_and_log_det")(variables, x, None) for way in ("store", "reverse")
        )
    assert_same(rebuilt, stored)


@pytest.mark.slow
@both_directions
def test_forward_mode_and_its_mixtures_with_reverse_mode_are_the_stored_ones(direction):
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        (x, _), context = rng.normal(size=(2, 2, 4)), rng.normal(size=(2, 1))
        variables = in_float64(random_variables(Repeat(coupling(), 2), 0, x, context))

        def derivatives(way):
            def total(variables, x, context):
                y, log_det = Repeat(coupling(), 2, way).apply(variables, x, context, method=direction)
                return jnp.sin(y).sum() + (jnp.arange(1, len(x) + 1) * log_det).sum()

            @quick
            def at(*primals):
                changes = jax.tree.map(jnp.cos, primals)
                return (
                    jax.jvp(total, primals, changes),
                    jax.jvp(jax.grad(total, (0, 1, 2)), primals, changes),
                    jax.jit(jax.grad(lambda x: jax.jvp(total, (variables, x, context), changes)[1]))(x),
                )

            return jax.device_get(at(variables, x, context))

        assert_same(derivatives("reverse"), derivatives("store"))


@pytest.mark.slow
@both_directions
@pytest.mark.parametrize("name", ["images", "reversing repeat inside"])
def test_second_derivatives_of_deeper_steps_are_the_stored_ones(name, direction):
    step, event, context = STEPS[name]
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        x = rng.normal(size=(2, *event))
        context = None if context is None else rng.normal(size=(2, *context))
        variables = in_float64(random_variables(within(step, "store"), 0, x, context))

        def derivatives(way):
            @quick
            def at(params, x):
                def total(params, x):
                    apply = within(step, way).apply
                    y, log_det = apply({**variables, "params": params}, x, context, method=direction)
                    return jnp.sin(y).sum() + (jnp.arange(1, len(x) + 1) * log_det).sum()

                gradient, changes = jax.grad(total, (0, 1)), jax.tree.map(jnp.cos, (params, x))
                forward = jax.jvp(gradient, (params, x), changes)[1]
                return forward, jax.grad(lambda *primals: optax.tree.norm(gradient(*primals)), (0, 1))(params, x)

            return jax.device_get(at(variables["params"], x))

        for a, b in zip(*map(jax.tree.leaves, (derivatives("reverse"), derivatives("store"))), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9 * np.abs(b).max())


def test_hessian_of_a_likelihood_is_the_stored_one():
    with jax.enable_x64(True):
        x = np.random.default_rng(0).normal(size=(1, 2, 2, 2))
        variables = random_variables(Repeat(image_coupling(), 2), 0, x)["params"]
        flows = [Flow(Repeat(image_coupling(), 2, way), StandardNormal((2, 2, 2))) for way in ("reverse", "store")]
        variables = {"flow": {"params": in_float64(variables)}}
        reverse, store = (
            quick(jax.hessian(lambda x, flow=flow: flow.log_prob(variables, x)[0]))(x) for flow in flows
        )
        assert_same(reverse, store)


def test_half_precision_in_gives_float32_gradients_and_its_own_back():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4)), jnp.bfloat16)
    context = x[:, :2]
    variables = random_variables(within(vector_step(), "store"), 0, x, context)
    stored, rebuilt = (
        gradients(within(vector_step(), way), "forward_and_log_det")(variables, x, context)
        for way in ("store", "reverse")
    )
    assert rebuilt[0].dtype == jnp.float32 and rebuilt[1][1].dtype == rebuilt[1][2].dtype == jnp.bfloat16
    for a, b in zip(jax.tree.leaves(rebuilt), jax.tree.leaves(stored), strict=True):
        assert a.dtype == b.dtype
        rtol = 2e-2 if a.dtype == jnp.bfloat16 else 1e-3
        np.testing.assert_allclose(np.float32(a), np.float32(b), rtol=rtol, atol=1e-3)


def test_integer_context_is_no_obstacle():
    x, context = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4)), jnp.float32), jnp.eye(3, 2, dtype=jnp.int32)
    variables = random_variables(Repeat(vector_step(), 3), 0, x, context)

    def total(params, gradient):
        z, log_det = Repeat(vector_step(), 3, gradient).apply({**variables, "params": params}, x, context)
        return (z**2).sum() + log_det.sum()

    stored, rebuilt = (
        quick(jax.grad(functools.partial(total, gradient=way)))(variables["params"]) for way in ("store", "reverse")
    )
    for a, b in zip(jax.tree.leaves(rebuilt), jax.tree.leaves(stored), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)


def test_gradients_may_be_mapped_over_seeds():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4)), jnp.float32)
    repeat = Repeat(vector_step(), 2, "reverse")
    several = [random_variables(repeat, seed, x) for seed in range(2)]

    def gradient(variables):
        def total(params):
            z, log_det = repeat.apply({**variables, "params": params}, x)
            return (z**2).sum() + log_det.sum()

        return jax.jit(jax.grad(total))(variables["params"])

    mapped = quick(jax.vmap(gradient))(jax.tree.map(lambda *a: jnp.stack(a), *several))
    for i, variables in enumerate(several):
        for a, b in zip(jax.tree.leaves(mapped), jax.tree.leaves(quick(gradient)(variables)), strict=True):
            np.testing.assert_allclose(a[i], b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("gradient", ["rematerialize", "reverse"])
def test_init_is_that_of_the_stored_loop(gradient):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(8, 4)), jnp.float32)
    stored, other = (quick(Repeat(vector_step(), 3, way).init)(jax.random.key(0), x) for way in ("store", gradient))
    for a, b in zip(jax.tree.leaves(other), jax.tree.leaves(stored), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def train(model, data, optimizer, steps):
    """The state after some steps of 64 rows each, several in a call."""
    plays = {name: play._replace(optimizer=optimizer) for name, play in model.plays().items()}
    state = init_state(model, plays, jax.random.key(0), data.head(512))
    capacity = min(steps, 100)
    run = jax.jit(many_steps(make_train_step(plays), capacity))
    for start in range(0, steps, capacity):
        rows = np.stack([data.indices_at(start + i, 64, 0) for i in range(capacity)])
        state, _ = run(state, data.arrays, rows, np.int32(capacity))
    return state


@pytest.mark.slow
def test_trains_as_the_stored_one_many_steps_in_a_call():
    def after(way, steps):
        flow = Flow(Repeat(Chain((ActNorm(), Permute("reverse"), coupling())), 3, way), StandardNormal((2,)))
        return jax.tree.leaves(train(flow, source("two_moons").train, optax.sgd(0.05), steps).params)

    started, stored, rebuilt = after("store", 1), after("store", 4), after("reverse", 4)
    for a, b in zip(rebuilt, stored, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    assert max(np.abs(b - a).max() for a, b in zip(started, stored, strict=True)) > 1e-2


@pytest.mark.slow
def test_gradient_in_float32_at_depth_64_after_two_thousand_steps():
    """Measured: 5e-5 of the gradient's norm."""

    def flow(way):
        step = Chain((ActNorm(), Permute(), Coupling(TanhAffine(), ConvNet((8, 8)))))
        bijector = Chain((Affine(-0.5), Squeeze(), Repeat(step, 64, way), Invert(Squeeze())))
        return Flow(bijector, StandardNormal((8, 8, 1)), UniformDequantization(17))

    data = source("digits").train
    optimizer = optax.chain(optax.clip_by_global_norm(50.0), optax.adam(1e-3))
    variables = train(flow("reverse"), data, optimizer, 2000).variables["flow"]
    batch, key = data.head(64), jax.random.key(1)

    def gradient(way):
        def loss(params):
            return flow(way).loss({"flow": {**variables, "params": params}}, batch, key, Clock()).value

        return jax.jit(jax.grad(loss))(variables["params"])

    stored, rebuilt = gradient("store"), gradient("reverse")
    error = optax.tree.norm(jax.tree.map(jnp.subtract, rebuilt, stored)) / optax.tree.norm(stored)
    assert 0 < error < 1e-3


def memory(gradient, times, step, x):
    """Bytes that the gradient of a repeat's likelihood needs beside what goes in and comes out."""
    repeat = Repeat(step, times, gradient)
    variables = jax.eval_shape(repeat.init, jax.random.key(0), x)

    def total(params, constants, x):
        z, log_det = repeat.apply({"params": params, "constants": constants}, x)
        return (z**2).sum() - log_det.sum()

    compiled = jax.jit(jax.grad(total)).lower(variables["params"], variables["constants"], x).compile()
    return compiled.memory_analysis().temp_size_in_bytes


def test_depth_costs_no_memory():
    step = Chain((ActNorm(), Permute(), Coupling(TanhAffine(), MLP((32,)))))
    x = jax.ShapeDtypeStruct((256, 6), jnp.float32)
    used = {(way, times): memory(way, times, step, x) for way in ("store", "reverse") for times in (4, 32)}
    assert used["reverse", 32] <= 1.1 * used["reverse", 4]
    assert used["store", 32] > 3 * used["store", 4]


@pytest.mark.slow
@pytest.mark.parametrize("mask", [None, Checkerboard()], ids=["halves", "checkerboard"])
def test_networks_run_once_in_the_backward_pass(mask):
    def convolutions(gradient):
        x = jax.ShapeDtypeStruct((2, 4, 4, 4), jnp.float32)
        repeat = Repeat(Chain((ActNorm(), image_coupling(mask), image_coupling(mask, flip=True))), 3, gradient)
        variables = jax.eval_shape(repeat.init, jax.random.key(0), x)

        def total(params, x):
            z, log_det = repeat.apply({"params": params}, x)
            return (z**2).sum() - log_det.sum()

        return jax.jit(jax.grad(total)).lower(variables["params"], x).compile().as_text().count(" convolution(")

    # which runs each network forwards, forwards again and backwards
    assert convolutions("reverse") == convolutions("rematerialize") > convolutions("store")


class Dropping(nn.Module):
    """A network that drops when it is given a key for it."""

    @nn.compact
    def __call__(self, h):
        return nn.Dropout(0.5, deterministic=not self.has_rng("dropout"))(nn.Dense(4)(h))


class Counting(nn.Module):
    """A network with batch statistics."""

    @nn.compact
    def __call__(self, h):
        return nn.Dense(4)(h) - self.variable("batch_stats", "mean", jnp.zeros, ()).value


class Noisy(Bijector):
    """Adds noise for which it must have a key."""

    def forward_and_log_det(self, x, context=None):
        return x + jax.random.normal(self.make_rng("dropout"), x.shape), jnp.zeros(x.shape[0])


def step_of(network):
    return Chain((ActNorm(), Coupling(TanhAffine(), network)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "step",
    [step_of(Dropping()), Noisy(), Chain((Repeat(step_of(Dropping()), 2),)), Repeat(step_of(Dropping()), 2, "reverse")],
    ids=["network", "bijector", "repeat inside", "reversing repeat inside"],
)
@pytest.mark.parametrize("transform", [lambda f: f, jax.jit, jax.grad], ids=["plain", "jit", "grad"])
def test_dropout_is_refused(step, transform):
    x = jnp.ones((2, 4))
    variables = Repeat(step, 2).init({"params": jax.random.key(0), "dropout": jax.random.key(1)}, x)

    def total(x, key):
        return Repeat(step, 2, "reverse").apply(variables, x, rngs={"dropout": key})[1].sum()

    with pytest.raises(ValueError, match="random numbers, got one with dropout"):
        transform(total)(x, jax.random.key(0))


@pytest.mark.parametrize(
    ("step", "key"),
    [
        (step_of(Dropping()), None),
        (step_of(MLP((4,))), jax.random.key(1)),
        (step_of(MLP((4,))), jax.random.PRNGKey(1)),
        (Chain((Repeat(step_of(MLP((4,))), 2), Permute("reverse"))), jax.random.key(1)),
    ],
    ids=["dropout without a key", "a key without dropout", "an old key", "a key that a repeat inside splits"],
)
def test_keys_that_are_not_drawn_from_are_not_refused(step, key):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4)), jnp.float32)
    variables = random_variables(Repeat(step, 2), 0, x)
    apply = functools.partial(Repeat(step, 2, "reverse").apply, rngs=None if key is None else {"dropout": key})
    for a, b in zip(quick(apply)(variables, x), quick(Repeat(step, 2).apply)(variables, x), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("network", "collection"), [(Counting(), "batch_stats"), (SpectralDense(4), "spectral")])
def test_collections_that_training_updates_are_refused(network, collection):
    x, step = jnp.ones((2, 4)), step_of(network)
    variables = random_variables(Repeat(step, 2), 0, x)
    repeat = Repeat(step, 2, "reverse")
    for call in (functools.partial(repeat.init, jax.random.key(0)), functools.partial(repeat.apply, variables)):
        with pytest.raises(ValueError, match=f"without collections that training updates, got .*{collection}"):
            call(x)


def test_an_unknown_gradient_is_refused():
    with pytest.raises(ValueError, match="'store', 'rematerialize', 'reverse'.*'recompute'"):
        Repeat(Affine(), 2, "recompute").init(jax.random.key(0), jnp.ones((2, 4)))


def test_reverses_finds_a_reversing_repeat_anywhere():
    assert not reverses(within(vector_step(), "store")) and not reverses(within(vector_step(), "rematerialize"))
    for bijector in (within(vector_step(), "reverse"), Invert(FirstHalf(Repeat(Repeat(Affine(), 2, "reverse"), 2)))):
        assert reverses(bijector)


class Imprecise(Elementwise):
    """Doubles; its inverse misses the third row by 0.25."""

    @nn.compact
    def _scale(self):
        return self.param("scale", nn.initializers.constant(2.0), ())

    def _forward(self, x):
        return self._scale() * x, jnp.zeros(x.shape)

    def _inverse(self, z):
        return z / self._scale() - 0.25 * (jnp.arange(len(z)) == 2)[:, None], jnp.zeros(z.shape)


def test_reconstruction_error_is_the_largest_and_has_no_gradient():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)
    variables = jax.jit(Imprecise().init)(jax.random.key(0), x)
    error, slopes = jax.jit(jax.value_and_grad(lambda v: reconstruction_error(Imprecise(), v, x)))(variables)
    np.testing.assert_allclose(error, 0.25, rtol=1e-6)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(slopes))
    assert np.isnan(reconstruction_error(Imprecise(), variables, x.at[1, 1].set(jnp.inf)))
